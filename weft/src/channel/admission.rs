//! Who is served: so many, and strangers never in their place.
//!
//! A connection is a stranger until its handshakes are done, that of TLS and the hellos. Strangers have places of their
//! own and little time. When their places are taken, the oldest goes for the next one that comes, though each may stay
//! a moment that is long enough for an honest handshake; meanwhile others wait in the kernel. So strangers who hold
//! sockets open keep nobody out, and those who open ever more of them delay an honest peer by no more than their
//! number over [`N_STRANGERS`] such moments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// Strangers at a time.
pub(super) const N_STRANGERS: usize = 128;
/// How long a stranger may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take whoever comes.
const MOMENT: Duration = Duration::from_millis(500);

/// Where connections wait until they are known, and the places of those that are.
#[derive(Debug)]
pub(super) struct Hall {
    places: Arc<Semaphore>,
    limit: usize,
    strangers: Mutex<Strangers>,
}

/// By age.
#[derive(Debug, Default)]
struct Strangers {
    last: u64,
    waiting: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A connection whose handshakes are not done.
#[derive(Debug)]
pub struct Stranger {
    hall: Arc<Hall>,
    number: u64,
}

/// Leave to be served, while it is held.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody else can be.
    #[error("{0} connections are served already, which is the limit")]
    Full(usize),
    /// It went for another just now, or took too long.
    #[error("the handshake took too long")]
    Late,
}

impl Hall {
    /// Serves at most `limit`.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(limit)), limit, strangers: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one who has come, once there is room. True: another had to go for it.
    pub async fn enter(self: &Arc<Self>) -> (Stranger, Expulsion, bool) {
        let mut crowded_out = false;
        loop {
            let due = {
                let mut strangers = self.lock();
                let oldest = strangers.waiting.first_key_value().map(|(_, (since, _))| *since + MOMENT);
                match oldest.filter(|_| strangers.waiting.len() >= N_STRANGERS) {
                    None => {
                        let (stranger, expulsion) = self.add(&mut strangers);
                        return (stranger, expulsion, crowded_out);
                    }
                    Some(due) if due <= Instant::now() => {
                        // Whose end of this is gone is gone.
                        let _ = strangers.waiting.pop_first().map(|(_, (_, expel))| expel.send(()));
                        crowded_out = true;
                        continue;
                    }
                    Some(due) => due,
                }
            };
            tokio::time::sleep_until(due).await;
        }
    }

    fn add(self: &Arc<Self>, strangers: &mut Strangers) -> (Stranger, Expulsion) {
        strangers.last += 1;
        let (expel, expelled) = oneshot::channel();
        strangers.waiting.insert(strangers.last, (Instant::now(), expel));
        let stranger = Stranger { hall: self.clone(), number: strangers.last };
        (stranger, Expulsion { hall: self.clone(), number: strangers.last, expelled })
    }

    /// It is no stranger any more. False: it was not, or had to go.
    fn remove(&self, number: u64) -> bool {
        self.lock().waiting.remove(&number).is_some()
    }
}

impl Stranger {
    /// The handshakes are done.
    ///
    /// # Errors
    /// All places are taken, or it is too late.
    pub fn admit(self) -> Result<Place, Refusal> {
        // From here on nobody expels it.
        if !self.hall.remove(self.number) {
            return Err(Refusal::Late);
        }
        let place = self.hall.places.clone().try_acquire_owned();
        place.map(Place).map_err(|_| Refusal::Full(self.hall.limit))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.hall.remove(self.number);
    }
}

/// Tells a connection that it has to go while it is a stranger.
#[derive(Debug)]
pub(super) struct Expulsion {
    hall: Arc<Hall>,
    number: u64,
    expelled: oneshot::Receiver<()>,
}

impl Expulsion {
    /// Comes when it has to go; never, if it is no stranger any more.
    pub async fn wait(self) {
        match tokio::time::timeout(PATIENCE, self.expelled).await {
            Ok(Ok(())) => {}
            Err(_) if self.hall.remove(self.number) => {}
            Ok(Err(_)) | Err(_) => std::future::pending().await,
        }
    }
}
