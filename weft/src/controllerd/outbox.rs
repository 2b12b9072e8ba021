//! What the hub has for a connection: a queue behind a lock of its own, so that messages are made into bytes, and these
//! written, by the connection and many at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use controller::Outgoing;
use openflow::Xid;
use tokio::sync::Notify;

/// Both ends of a queue. Whoever puts lets go of it to end the connection.
pub fn outbox() -> (Sender, Receiver) {
    let outbox = Arc::new(Outbox::default());
    (Sender(outbox.clone()), Receiver(outbox))
}

#[derive(Debug, Default)]
struct Outbox {
    queue: Mutex<Queue>,
    /// There is something to take where there was nothing.
    ready: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Xid, Outgoing)>,
    /// Nothing more will come.
    is_closed: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics halfway through a change of the queue.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of the hub.
#[derive(Debug)]
pub struct Sender(Arc<Outbox>);

impl Sender {
    /// Puts messages behind those that are there, and leaves none.
    pub fn put(&self, messages: &mut Vec<(Xid, Outgoing)>) {
        if messages.is_empty() {
            return;
        }
        let mut queue = self.0.lock();
        let is_first = queue.messages.is_empty();
        queue.messages.extend(messages.drain(..));
        drop(queue);
        if is_first {
            self.0.ready.notify_one();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.ready.notify_one();
    }
}

/// The end of the connection.
#[derive(Debug)]
pub struct Receiver(Arc<Outbox>);

impl Receiver {
    /// Moves at most `limit` messages into `to`. False: nothing more will come.
    pub fn take(&self, limit: usize, to: &mut Vec<(Xid, Outgoing)>) -> bool {
        let mut queue = self.0.lock();
        let n = queue.messages.len().min(limit);
        to.extend(queue.messages.drain(..n));
        if queue.messages.is_empty() && queue.messages.capacity() > limit {
            // A plan of everything is the exception: do not keep its memory.
            queue.messages = VecDeque::new();
        }
        !(queue.is_closed && queue.messages.is_empty())
    }

    /// Resolves when [`Receiver::take`] has something to tell.
    pub async fn ready(&self) {
        // What is put between a look and the wait leaves a permit.
        while !self.has_something() {
            self.0.ready.notified().await;
        }
    }

    fn has_something(&self) -> bool {
        let queue = self.0.lock();
        !queue.messages.is_empty() || queue.is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openflow::Message;

    fn messages(xids: std::ops::Range<u32>) -> Vec<(Xid, Outgoing)> {
        xids.map(|xid| (Xid(xid), Message::BarrierRequest.into())).collect()
    }

    #[tokio::test]
    async fn messages_come_in_order_and_in_lots() {
        let (sender, receiver) = outbox();
        sender.put(&mut messages(0..3));
        sender.put(&mut messages(3..5));
        let mut taken = Vec::new();
        receiver.ready().await;
        assert!(receiver.take(4, &mut taken));
        assert_eq!(taken, messages(0..4));
        receiver.ready().await;
        assert!(receiver.take(4, &mut taken));
        assert_eq!(taken, messages(0..5));
    }

    #[tokio::test]
    async fn what_was_put_is_taken_before_the_end() {
        let (sender, receiver) = outbox();
        sender.put(&mut messages(0..2));
        drop(sender);
        let mut taken = Vec::new();
        assert!(receiver.take(1, &mut taken));
        receiver.ready().await;
        assert!(!receiver.take(1, &mut taken));
        assert_eq!(taken, messages(0..2));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (sender, receiver) = outbox();
        let waits = async {
            receiver.ready().await;
            let mut taken = Vec::new();
            receiver.take(9, &mut taken);
            taken.len()
        };
        let (n, ()) = tokio::join!(waits, async { sender.put(&mut messages(0..2)) });
        assert_eq!(n, 2);
    }
}
