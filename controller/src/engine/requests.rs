//! What the shell asks of a switch on behalf of people: statistics, and flows by hand.

use openflow::{Dpid, FlowMod, Message, Reply, Request};

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

    /// Sends flow mods as they are, then a barrier; the answer comes when all are done or one is refused.
    pub fn send_mods(&mut self, dpid: Dpid, mods: Vec<FlowMod>) -> Token {
        let token = self.token();
        let conn = self.switches.get(&dpid).and_then(|managed| managed.conn);
        let Some((conn, session)) = conn.and_then(|conn| Some((conn, self.sessions.get_mut(&conn)?))) else {
            self.event(Event::Answer(token, Err(RequestError::NotConnected)));
            return token;
        };
        let mut messages: Vec<_> =
            mods.into_iter().map(|m| (session.xid(Pending::Mod(token)), Message::FlowMod(m))).collect();
        messages.push((session.xid(Pending::ModBarrier(token)), Message::BarrierRequest));
        for (xid, message) in messages {
            self.send(conn, xid, message);
        }
        token
    }

    pub(super) fn answer(&mut self, token: Token, reply: Reply) {
        self.event(Event::Answer(token, Ok(Answer::Reply(reply))));
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
