//! Claim: reading the headers of a frame costs a few nanoseconds, and finishing what an output must finish runs at
//! memory speed. Prints the best of several runs, in nanoseconds; nothing here allocates once the pool is warm.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use packet::layout::Layout;
use packet::offload::segment;
use packet::{CsumPartial, Frame, Gso, GsoKind, MacAddr, Pool, VlanId, build, checksum, ipv4, tcp};

fn best(n: u32, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        for _ in 0..n {
            work();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(n));
    }
    best
}

fn tagged_tcp(payload: &[u8]) -> Vec<u8> {
    let link = build::ethernet(MacAddr::from_u64(1 << 41), MacAddr::from_u64(2 << 40));
    let link = link.vlan(VlanId::new(7).expect("in range"));
    link.ipv4([10, 0, 0, 1], [10, 0, 0, 2]).tcp(&tcp::Header::default(), payload)
}

fn main() {
    let bytes = tagged_tcp(&[0; 1400]);
    let ns = best(200_000, || {
        let bytes: &[u8] = black_box(&bytes);
        let layout = Layout::parse(bytes, bytes.len()).expect("built");
        let transport = layout.transport.expect("IP");
        let ip = ipv4::View::parse(&bytes[layout.network_at..]).expect("built");
        let tcp = tcp::View::parse(&bytes[transport.at..]).expect("built");
        black_box((ip.src(), ip.dst(), tcp.src_port(), tcp.dst_port(), tcp.flags()));
    });
    println!("Ethernet, VLAN, IPv4, TCP read twice over    {ns:8.1} ns");
    let ns = best(200_000, || {
        black_box(checksum::checksum(black_box(&bytes)));
    });
    println!("checksum of {} bytes                       {ns:8.1} ns", bytes.len());
    let whole = vec![0x5a; 65_000];
    let ns = best(2000, || {
        black_box(checksum::checksum(black_box(&whole)));
    });
    println!("checksum of 65000 bytes                      {ns:8.1} ns");
    let bytes = tagged_tcp(&vec![0; 64_000]);
    let mut pool = Pool::default();
    let mut out: Vec<Frame> = Vec::with_capacity(64);
    let ns = best(500, || {
        let mut frame = pool.frame_from(&bytes).expect("fits");
        frame.meta.csum = Some(CsumPartial { start: 38, offset: 16 });
        frame.meta.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false });
        segment(frame, &mut pool, &mut out).expect("well-formed");
        pool.free_batch(&mut out);
    });
    println!("64000 bytes of TCP copied in and segmented   {ns:8.1} ns");
    println!(
        "buffers allocated                            {:8} heads, {} tails",
        pool.stats().n_heads_allocated,
        pool.stats().n_tails_allocated
    );
}
