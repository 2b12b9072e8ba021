//! Requests that come in several parts (§7.3.5): only those that set table features do.

use std::collections::BTreeMap;

use openflow::error::BadRequest;
use openflow::{ErrorKind, MultipartRequest, Request, TableFeatures, TableId, Xid};

use crate::ConnId;

/// Requests of a connection of which parts may be missing at a time.
const MAX_OPEN: usize = 16;
/// Tables that a request may name.
const MAX_TABLES: usize = TableId::ALL.0 as usize;

/// The parts that are there, by connection and transaction; `None` where they were too many: whatever is still to come
/// is refused, so that no request is ever done by half.
#[derive(Debug, Default)]
pub(super) struct Parts(BTreeMap<(ConnId, Xid), Option<Vec<TableFeatures>>>);

impl Parts {
    /// The request, when its last part is there.
    ///
    /// # Errors
    /// MULTIPART_BUFFER_OVERFLOW for more tables than there can be, for more unfinished requests than are kept, and for
    /// requests that come in one part.
    pub(super) fn add(
        &mut self,
        conn: ConnId,
        xid: Xid,
        request: MultipartRequest,
    ) -> Result<Option<Request>, ErrorKind> {
        let overflow = Err(BadRequest::MultipartBufferOverflow.into());
        let Request::TableFeatures(tables) = request.body else {
            return if request.more { overflow } else { Ok(Some(request.body)) };
        };
        let n_open = self.0.range((conn, Xid(0))..=(conn, Xid(u32::MAX))).count();
        let known = self.0.remove(&(conn, xid));
        // The first parts of this one may be among those that were refused.
        if known.is_none() && n_open >= MAX_OPEN && !tables.is_empty() {
            return overflow;
        }
        let mut all = known.unwrap_or_else(|| Some(Vec::new()));
        if let Some(some) = &mut all {
            some.extend(tables);
        }
        let all = all.filter(|all| all.len() <= MAX_TABLES);
        if !request.more {
            return all.map_or(overflow, |all| Ok(Some(Request::TableFeatures(all))));
        }
        let kept = all.is_some();
        self.0.insert((conn, xid), all);
        if kept { Ok(None) } else { overflow }
    }

    /// The connection is gone, its requests with it.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|(of, _), _| *of != conn);
    }
}
