//! The stages that a batch passes, for whoever times them: there is no clock in here.

/// A stage of [`Datapath::process`](crate::Datapath::process).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading what the frames are.
    Extract,
    /// Asking the cache.
    Cache,
    /// Walking the tables, for frames that the cache did not know.
    Pipeline,
    /// Carrying out the programs.
    Actions,
}

/// Told when a stage of a batch is over, with the number of frames that it worked on.
pub type Lap<'a> = &'a mut dyn FnMut(Stage, usize);
