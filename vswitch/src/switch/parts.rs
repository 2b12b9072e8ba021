//! Requests that come in several parts (§7.3.5): only those that set table features do.

use core::time::Duration;
use std::collections::BTreeMap;

use openflow::error::BadRequest;
use openflow::{Error, ErrorKind, Message, MultipartRequest, Request, TableFeatures, TableId, Xid};
use packet::Instant;

use super::Switch;
use crate::ConnId;

/// Requests of a connection of which parts may be missing at a time.
const MAX_OPEN: usize = 16;
/// Tables that a request may name.
const MAX_TABLES: usize = TableId::ALL.0 as usize;
/// How long a request waits for its next part. The text names no time; Open vSwitch waits as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how long the rest of a request that was refused is known as such.
const MEMORY: Duration = Duration::from_secs(10);

/// What is there of a request.
#[derive(Debug)]
enum State {
    Tables(Vec<TableFeatures>),
    /// It was refused for this: whatever is still to come of it is refused too, so that no request is ever done by half.
    Refused(BadRequest),
}

#[derive(Debug)]
struct Open {
    state: State,
    /// When it has waited long enough.
    until: Instant,
}

/// The requests of which parts are to come, by connection and transaction.
#[derive(Debug, Default)]
pub(super) struct Parts(BTreeMap<(ConnId, Xid), Open>);

impl Parts {
    /// The request, when its last part is there.
    ///
    /// # Errors
    /// MULTIPART_BUFFER_OVERFLOW for more tables than there can be, for more unfinished requests than are kept, and for
    /// requests that come in one part; MULTIPART_REQUEST_TIMEOUT for what comes too late.
    pub(super) fn add(
        &mut self,
        now: Instant,
        (conn, xid): (ConnId, Xid),
        request: MultipartRequest,
    ) -> Result<Option<Request>, ErrorKind> {
        const OVERFLOW: BadRequest = BadRequest::MultipartBufferOverflow;
        let Request::TableFeatures(tables) = request.body else {
            return if request.more { Err(OVERFLOW.into()) } else { Ok(Some(request.body)) };
        };
        let n_open = self.0.range((conn, Xid(0))..=(conn, Xid(u32::MAX))).count();
        let known = self.0.remove(&(conn, xid)).map(|open| open.state);
        // The first parts of this one may be among those that were refused.
        if known.is_none() && n_open >= MAX_OPEN && !tables.is_empty() {
            return Err(OVERFLOW.into());
        }
        let state = match known.unwrap_or(State::Tables(Vec::new())) {
            State::Tables(all) if all.len() + tables.len() > MAX_TABLES => State::Refused(OVERFLOW),
            State::Tables(mut all) => {
                all.extend(tables);
                State::Tables(all)
            }
            refused @ State::Refused(_) => refused,
        };
        let (refused, patience) = match &state {
            State::Tables(_) => (None, PATIENCE),
            State::Refused(why) => (Some(*why), MEMORY),
        };
        match state {
            State::Tables(all) if !request.more => return Ok(Some(Request::TableFeatures(all))),
            State::Refused(why) if !request.more => return Err(why.into()),
            state => self.0.insert((conn, xid), Open { state, until: now + patience }),
        };
        refused.map_or(Ok(None), |why| Err(why.into()))
    }

    /// The connection is gone, its requests with it.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|(of, _), _| *of != conn);
    }

    /// When a request has waited long enough.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|open| open.until).min()
    }

    /// The requests whose next part did not come in time. Those that were refused long ago are forgotten.
    fn expire(&mut self, now: Instant) -> Vec<(ConnId, Xid)> {
        self.0.retain(|_, open| open.until > now || matches!(open.state, State::Tables(_)));
        let over = self.0.iter_mut().filter(|(_, open)| open.until <= now);
        over.map(|(&key, open)| {
            let state = State::Refused(BadRequest::MultipartRequestTimeout);
            *open = Open { state, until: now + MEMORY };
            key
        })
        .collect()
    }
}

impl Switch {
    /// §7.4.4: a request whose parts do not come is refused.
    pub(super) fn expire_parts(&mut self, now: Instant) {
        for (conn, xid) in self.parts.expire(now) {
            self.send(conn, xid, Message::Error(Error::new(BadRequest::MultipartRequestTimeout)));
        }
    }
}
