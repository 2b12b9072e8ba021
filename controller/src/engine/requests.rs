//! What the shell asks of a switch on behalf of people: statistics, and changes by hand.

use openflow::{Dpid, Message, Reply, Request, Role, RoleRequest, Xid};
use packet::Instant;

use super::Controller;
use crate::effect::{Answer, ConnId, Event, RequestError, Token};
use crate::switch::{Pending, Purpose};

impl Controller {
    /// Asks a switch; the answer is an event with this token, its parts put together.
    pub fn request(&mut self, dpid: Dpid, request: Request) -> Token {
        let token = self.token();
        match self.switches.get(&dpid).and_then(|managed| managed.conn) {
            Some(conn) => self.ask(conn, Purpose::Request(token), request),
            None => self.event(Event::Answer(token, Err(RequestError::NotConnected))),
        }
        token
    }

    /// Sends changes (of flows, groups, meters, ports) as they are, then a barrier; the answer comes when all are done or
    /// one is refused.
    pub fn send_changes(&mut self, dpid: Dpid, changes: Vec<Message>) -> Token {
        let token = self.token();
        self.send_for(token, dpid, changes.into_iter().map(|change| (Pending::Mod(token), change)).collect());
        self.send_for(token, dpid, vec![(Pending::ModBarrier(token), Message::BarrierRequest)]);
        token
    }

    /// Sends a message that is answered by one message.
    pub fn exchange(&mut self, dpid: Dpid, message: Message) -> Token {
        let token = self.token();
        self.send_for(token, dpid, vec![(Pending::Exchange(token), message)]);
        token
    }

    /// Asks for a role at a switch. As a slave the controller changes nothing there until it has another role.
    pub fn ask_role(&mut self, dpid: Dpid, role: Role) -> Token {
        // OpenFlow 1.3.5 §6.3.4: a generation older than the newest one of this switch is refused.
        let generation = self.config.master.unwrap_or(0);
        self.exchange(dpid, Message::RoleRequest(RoleRequest { role, generation }))
    }

    fn send_for(&mut self, token: Token, dpid: Dpid, messages: Vec<(Pending, Message)>) {
        let conn = self.switches.get(&dpid).and_then(|managed| managed.conn);
        let Some((conn, session)) = conn.and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?))) else {
            return self.event(Event::Answer(token, Err(RequestError::NotConnected)));
        };
        let messages: Vec<_> =
            messages.into_iter().map(|(pending, message)| (session.xid(pending), message)).collect();
        for (xid, message) in messages {
            self.send(conn, xid, message);
        }
    }

    pub(super) fn answer(&mut self, token: Token, reply: Reply) {
        self.event(Event::Answer(token, Ok(Answer::Reply(reply))));
    }

    /// A message that may answer one of these.
    pub(super) fn exchanged(&mut self, now: Instant, conn: ConnId, xid: Xid, message: Message) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match (session.take(xid), &message) {
            (Some(Pending::Exchange(token)), _) => {
                if let Message::RoleReply(RoleRequest { role, .. }) = &message {
                    self.has_role(now, conn, *role);
                }
                self.event(Event::Answer(token, Ok(Answer::Message(Box::new(message)))));
            }
            (Some(Pending::Role), Message::RoleReply(_)) => {}
            (other, _) => {
                other.into_iter().for_each(|pending| session.put_back(xid, pending));
                self.counters.unexpected_messages += 1;
            }
        }
    }

    fn has_role(&mut self, now: Instant, conn: ConnId, role: Role) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        match (role, session.slave) {
            (Role::Slave, false) => self.demoted(now, conn),
            (Role::Equal | Role::Master, true) => {
                session.slave = false;
                self.dirty = true;
            }
            _ => {}
        }
    }

    pub(super) fn done(&mut self, token: Token) {
        self.event(Event::Answer(token, Ok(Answer::Done)));
    }

    pub(super) fn refused(&mut self, conn: ConnId, token: Token, error: String) {
        if let Some(session) = self.sessions.get_mut(&conn) {
            session.forget(token);
        }
        self.event(Event::Answer(token, Err(RequestError::Refused(error))));
    }
}
