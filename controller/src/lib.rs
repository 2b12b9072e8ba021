//! Intent to plan to diff to flow mods.
