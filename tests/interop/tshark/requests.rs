//! Requests as bytes, for each version; clauses are of OpenFlow 1.3.5 unless another is named.

/// Type and body.
pub type Request = (u8, Vec<u8>);

const CONTROLLER: u32 = 0xffff_fffd;
const ANY: u32 = 0xffff_ffff;
const NO_BUFFER: u32 = 0xffff_ffff;
/// The ONF as experimenter, and its bundles for 1.3 (EXT-230).
const ONF_BUNDLE: [u8; 8] = [0x4f, 0x4e, 0x46, 0, 0, 0, 0x08, 0xfc];

/// A whole message (§7.1).
pub fn message(version: u8, kind: u8, xid: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version, kind];
    bytes.extend((8 + body.len() as u16).to_be_bytes());
    bytes.extend(xid.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Big-endian fields one after the other: bytes of each, and the value.
fn fields(all: &[(usize, u64)]) -> Vec<u8> {
    all.iter().flat_map(|(len, value)| value.to_be_bytes()[8 - len..].to_vec()).collect()
}

/// Output to a port (§7.2.5); the whole packet for the controller.
fn output(version: u8, port: u32) -> Vec<u8> {
    match version {
        1 => fields(&[(2, 0), (2, 8), (2, u64::from(port & 0xffff)), (2, 0xffff)]),
        _ => fields(&[(2, 0), (2, 16), (4, u64::from(port)), (2, 0xffff), (6, 0)]),
    }
}

/// A match of everything (§7.2.3; 1.0 §5.2.3).
fn everything(version: u8) -> Vec<u8> {
    match version {
        1 => [fields(&[(4, 0x003f_ffff)]), vec![0; 36]].concat(),
        _ => fields(&[(2, 1), (2, 4), (4, 0)]),
    }
}

/// A match of a destination and TCP port 80.
fn web(version: u8) -> Vec<u8> {
    match version {
        // in_port, dl_src and so on are wildcards; dl_type, nw_proto, nw_dst and tp_dst are not.
        1 => {
            let wildcards = 0x003f_ffff & !(1 << 4 | 1 << 5 | 1 << 7 | 0x3f << 14);
            let head = fields(&[(4, wildcards), (2, 0), (6, 0), (6, 0), (2, 0), (1, 0), (1, 0), (2, 0x800)]);
            [head, fields(&[(1, 0), (1, 6), (2, 0), (4, 0), (4, 0x0a00_0002), (2, 0), (2, 80)])].concat()
        }
        _ => {
            let oxms = fields(&[(4, 0x8000_0a02), (2, 0x800), (4, 0x8000_1401), (1, 6), (4, 0x8000_1804)]);
            let oxms = [oxms, fields(&[(4, 0x0a00_0002), (4, 0x8000_1c02), (2, 80)])].concat();
            let len = 4 + oxms.len();
            [fields(&[(2, 1), (2, len as u64)]), oxms, vec![0; len.next_multiple_of(8) - len]].concat()
        }
    }
}

/// Add (0) or delete (3) a flow that says when it goes (§7.3.4.1).
fn flow_mod(version: u8, command: u64, matching: &[u8], actions: &[u8]) -> Request {
    if version == 1 {
        let rest = fields(&[
            (8, 7),
            (2, command),
            (2, 60),
            (2, 0),
            (2, 9),
            (4, NO_BUFFER.into()),
            (2, 0xffff),
            (2, 1),
        ]);
        return (14, [matching, &rest, actions].concat());
    }
    let head =
        fields(&[(8, 7), (8, 0), (1, 0), (1, command), (2, 60), (2, 0), (2, 9), (4, NO_BUFFER.into())]);
    let head = [head, fields(&[(4, ANY.into()), (4, ANY.into()), (2, 1), (2, 0)])].concat();
    let apply = fields(&[(2, 4), (2, 8 + actions.len() as u64), (4, 0)]);
    let instructions = if actions.is_empty() { vec![] } else { [apply, actions.to_vec()].concat() };
    (14, [&head, matching, &instructions].concat())
}

fn multipart(version: u8, kind: u64, body: Vec<u8>) -> Request {
    match version {
        1 => (16, [fields(&[(2, kind), (2, 0)]), body].concat()),
        _ => (18, [fields(&[(2, kind), (2, 0), (4, 0)]), body].concat()),
    }
}

/// Role request (§7.3.9): 2 is master.
pub fn role(role: u64, generation: u64) -> Request {
    (24, fields(&[(4, role), (4, 0), (8, generation)]))
}

/// Everything asynchronous is wanted, in every role (§7.3.10; 1.4 §7.3.10).
pub fn asynchronous(version: u8) -> Vec<Request> {
    match version {
        1 => vec![],
        4 => vec![(28, fields(&[(4, 7), (4, 7), (4, 7), (4, 7), (4, 15), (4, 15)]))],
        _ => {
            let masks = [0x3f, 0x3f, 7, 7, 0x3f, 0x3f, 7, 7, 0x18, 0x18, 3, 3];
            let property = |(kind, mask)| fields(&[(2, kind), (2, 8), (4, mask)]);
            vec![(28, (0..).zip(masks).flat_map(property).collect())]
        }
    }
}

/// Flows, a group, a meter, a packet-out that comes back; vacancy events of a table (1.4).
pub fn state(version: u8) -> Vec<Request> {
    let mut all = Vec::new();
    if version > 4 {
        // OFPTC_VACANCY_EVENTS; the property says below and above which percentage.
        all.push((17, fields(&[(1, 0), (3, 0), (4, 8), (2, 3), (2, 8), (1, 100), (1, 100), (2, 0)])));
    }
    if version > 1 {
        let actions = output(version, 2);
        let bucket =
            fields(&[(2, 16 + actions.len() as u64), (2, 1), (4, ANY.into()), (4, ANY.into()), (4, 0)]);
        all.push((15, [fields(&[(2, 0), (1, 1), (1, 0), (4, 1)]), bucket, actions].concat()));
        let band = fields(&[(2, 1), (2, 16), (4, 1000), (4, 100), (4, 0)]);
        all.push((29, [fields(&[(2, 0), (2, 13), (4, 1)]), band].concat()));
    }
    all.push(flow_mod(version, 0, &everything(version), &output(version, CONTROLLER)));
    all.push(flow_mod(version, 0, &web(version), &output(version, 2)));
    let actions = output(version, CONTROLLER);
    let head = match version {
        1 => fields(&[(4, NO_BUFFER.into()), (2, 1), (2, actions.len() as u64)]),
        _ => fields(&[(4, NO_BUFFER.into()), (4, 1), (2, actions.len() as u64), (6, 0)]),
    };
    all.push((13, [&head, &actions, super::ARP].concat()));
    all
}

/// Every request that has an answer.
pub fn questions(version: u8) -> Vec<Request> {
    let any_port = u64::from(ANY);
    // Echo, features, configuration.
    let mut all = vec![(2, b"weft?".to_vec()), (5, vec![]), (7, vec![])];
    if version == 1 {
        let flows = [everything(1), fields(&[(1, 0xff), (1, 0), (2, 0xffff)])].concat();
        all.extend([multipart(1, 0, vec![]), multipart(1, 1, flows.clone()), multipart(1, 2, flows)]);
        all.extend([multipart(1, 3, vec![]), multipart(1, 4, fields(&[(2, 0xffff), (6, 0)]))]);
        all.push(multipart(1, 5, fields(&[(2, 0xfffc), (2, 0), (4, any_port)])));
        all.extend([(20, fields(&[(2, 1), (2, 0)])), (18, vec![])]);
        return all;
    }
    let flows = fields(&[(1, 0xff), (3, 0), (4, any_port), (4, any_port), (4, 0), (8, 0), (8, 0)]);
    let flows = [flows, everything(version)].concat();
    let port_and_queue = fields(&[(4, any_port), (4, any_port)]);
    let all_groups = fields(&[(4, 0xffff_fffc), (4, 0)]);
    let all_meters = fields(&[(4, 0xffff_ffff), (4, 0)]);
    for (kind, body) in [
        (0, vec![]),
        (1, flows.clone()),
        (2, flows),
        (3, vec![]),
        (4, fields(&[(4, any_port), (4, 0)])),
        (5, port_and_queue.clone()),
        (6, all_groups),
        (7, vec![]),
        (8, vec![]),
        (9, all_meters.clone()),
        (10, all_meters),
        (11, vec![]),
        (12, vec![]),
        (13, vec![]),
    ] {
        all.push(multipart(version, kind, body));
    }
    if version > 4 {
        all.extend([multipart(5, 14, vec![]), multipart(5, 15, port_and_queue)]);
        // Bundles: open, close, commit; open, discard (1.4 §7.3.9).
        all.extend([0, 2, 4, 0, 6].map(|kind| (33, fields(&[(4, 1), (2, kind), (2, 3)]))));
    } else {
        let bundle = |kind| (4, [&ONF_BUNDLE[..], &fields(&[(4, 1), (2, kind), (2, 3)])].concat());
        all.extend([bundle(0), bundle(2), bundle(4)]);
        all.push((22, fields(&[(4, any_port), (4, 0)])));
    }
    // Barrier, role, asynchronous configuration.
    all.extend([(20, vec![]), role(0, 0), (26, vec![])]);
    all
}

/// Requests that are answered with errors of many types. tshark reads the request that an error quotes, too: so these are
/// well formed and merely cannot be done.
pub fn mistakes(version: u8) -> Vec<Request> {
    let mut all = vec![
        (99, vec![]),
        // Of no other unknown kind: tshark 4.0 reads past the end of those.
        multipart(version, 0xffff, fields(&[(4, 0xdead_beef), (4, 1)])),
        (4, fields(&[(4, 0xdead_beef), (4, 1)])),
        flow_mod(version, 9, &everything(version), &[]),
    ];
    if version > 1 {
        all.push((15, fields(&[(2, 0), (1, 1), (1, 0), (4, 1)])));
        all.push((29, fields(&[(2, 0), (2, 1), (4, 1)])));
        all.push(role(9, 0));
    }
    all
}

/// Deletes all flows, which say so; changes a group, which other controllers are told (1.4).
pub fn removal(version: u8) -> Vec<Request> {
    let mut all = vec![flow_mod(version, 3, &everything(version), &[])];
    if version > 1 {
        all.push((15, fields(&[(2, 2), (1, 0), (1, 0), (4, 1)])));
    }
    all
}

/// What must have come: types, and kinds of multipart.
pub fn answers(version: u8) -> Vec<(u8, Option<u16>)> {
    let (multipart, parts, plain): (u8, u16, &[u8]) = match version {
        1 => (17, 5, &[1, 3, 6, 8, 10, 19, 21]),
        4 => (19, 13, &[1, 3, 4, 6, 8, 10, 21, 23, 25, 27]),
        _ => (19, 15, &[1, 3, 6, 8, 10, 21, 25, 27, 33]),
    };
    let plain = plain.iter().map(|&kind| (kind, None));
    plain.chain((0..=parts).map(|part| (multipart, Some(part)))).collect()
}
