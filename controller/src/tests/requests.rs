//! What the shell asks of switches.

use openflow::{Dpid, Message, QueueConfig, Role, RoleRequest};

use super::*;
use crate::{Answer, RequestError, Token};

fn answer(net: &Net, token: Token) -> Option<&Result<Answer, RequestError>> {
    net.events.iter().find_map(|event| match event {
        Event::Answer(of, answer) if *of == token => Some(answer),
        _ => None,
    })
}

#[test]
fn a_controller_that_made_itself_a_slave_changes_nothing_until_it_is_master_again() {
    let (mut net, leaf) = (leaf_spine(), Dpid(3));
    let role = |net: &mut Net, role| {
        let token = net.controller.ask_role(leaf, role);
        net.drain();
        let held = RoleRequest { role, generation: 0 };
        let answer = answer(net, token).cloned();
        assert_eq!(answer, Some(Ok(Answer::Message(Box::new(Message::RoleReply(held))))));
    };
    role(&mut net, Role::Slave);
    let before = net.switches[&leaf].n_mods;
    net.say((3, 3), arp(1, 2));
    net.run(SETTLE);
    assert_eq!(net.switches[&leaf].n_mods, before);
    assert!(!net.controller.is_realised(leaf));
    role(&mut net, Role::Master);
    net.run(SETTLE);
    assert!(net.switches[&leaf].n_mods > before);
    assert!(net.controller.is_quiet());
}

#[test]
fn what_is_asked_of_a_switch_that_is_not_there_or_goes_is_answered() {
    let (mut net, leaf) = (leaf_spine(), Dpid(3));
    let changes = || vec![Message::QueueGetConfigRequest(None)];
    let asked = [
        net.controller.exchange(Dpid(99), changes().remove(0)),
        net.controller.send_changes(Dpid(99), changes()),
    ];
    // Nobody answers this one here.
    let waiting = net.controller.exchange(leaf, changes().remove(0));
    net.drain();
    assert_eq!(answer(&net, waiting), None);
    net.disconnect(3);
    for token in asked.into_iter().chain([waiting]) {
        assert_eq!(answer(&net, token), Some(&Err(RequestError::NotConnected)));
    }
    // What answers nothing that was asked is counted, and changes nothing.
    let spine = net.switches[&Dpid(1)].conn.unwrap();
    let before = net.controller.counters().unexpected_messages;
    let reply = Message::QueueGetConfigReply(QueueConfig { port: None, queues: vec![] });
    net.controller.handle_message(net.now, spine, openflow::Xid(7_777_777), reply);
    assert_eq!(net.controller.counters().unexpected_messages, before + 1);
}
