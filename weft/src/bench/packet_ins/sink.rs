//! A controller that looks at nothing: to each packet-in a flow mod and a packet-out made beforehand.

use std::io::{Read, Write};
use std::net::TcpListener;

const HEADER: usize = 8;
/// Where the frame stands in the packet-ins of the bench, header included.
const FRAME_AT: usize = 42;

/// Serves one switch until it goes.
pub fn serve(listener: &TcpListener) {
    // A switch that goes ends the bench, which tells what it has measured.
    let _ = serve_one(listener);
}

fn serve_one(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    // Hello, features, ports.
    stream.write_all(&[4, 0, 0, 8, 0, 0, 0, 1, 4, 5, 0, 8, 0, 0, 0, 2])?;
    stream.write_all(&[4, 18, 0, 16, 0, 0, 0, 3, 0, 13, 0, 0, 0, 0, 0, 0])?;
    let (mut input, mut output, mut bytes) = (Vec::new(), Vec::new(), vec![0; 1 << 18]);
    loop {
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        input.extend_from_slice(&bytes[..n]);
        let mut rest = &input[..];
        while let Some(&[_, kind, l0, l1, ..]) = rest.first_chunk::<HEADER>() {
            let len = usize::from(u16::from_be_bytes([l0, l1])).max(HEADER);
            let Some((message, behind)) = rest.split_at_checked(len) else { break };
            if kind == 10 && message.len() > FRAME_AT + 12 {
                answer(&message[FRAME_AT..], &mut output);
            }
            rest = behind;
        }
        input = rest.to_vec();
        stream.write_all(&output)?;
        output.clear();
    }
}

/// A flow for the addresses of the frame, and the frame out by a port.
fn answer(frame: &[u8], output: &mut Vec<u8>) {
    let (destination, source) = (&frame[..6], &frame[6..12]);
    output.extend([4, 14, 0, 96, 0, 0, 0, 4]);
    output.extend([0; 16]);
    // Table 0, add, no timeouts, priority 1, no buffer, any port, any group, no flags.
    output.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    output.extend([0xff; 12]);
    output.extend([0; 4]);
    // Match: eth_dst, eth_src; 24 bytes and no padding.
    output.extend([0, 1, 0, 24, 0x80, 0, 6, 6]);
    output.extend(destination);
    output.extend([0x80, 0, 8, 6]);
    output.extend(source);
    // Apply-actions: output to port 65.
    output.extend([0, 4, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 65, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    let len = 24 + 16 + frame.len();
    output.extend([4, 13]);
    output.extend((len as u16).to_be_bytes());
    output.extend([0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0, 0]);
    output.extend([0, 0, 0, 16, 0, 0, 0, 65, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
    output.extend_from_slice(frame);
}
