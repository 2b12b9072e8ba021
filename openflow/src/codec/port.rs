//! What every version says of ports and queues in the same way.

use core::time::Duration;

use super::reader::{Decoded, Reader};
use super::writer::Put;
use crate::{PortNo, PortStats, QueueStats};

/// A port of which nothing is counted.
fn uncounted(port: PortNo) -> PortStats {
    const NOT_KEPT: u64 = u64::MAX;
    PortStats {
        port,
        rx_packets: NOT_KEPT,
        tx_packets: NOT_KEPT,
        rx_bytes: NOT_KEPT,
        tx_bytes: NOT_KEPT,
        rx_dropped: NOT_KEPT,
        tx_dropped: NOT_KEPT,
        rx_errors: NOT_KEPT,
        tx_errors: NOT_KEPT,
        rx_frame_err: NOT_KEPT,
        rx_over_err: NOT_KEPT,
        rx_crc_err: NOT_KEPT,
        collisions: NOT_KEPT,
        duration: Duration::ZERO,
    }
}

/// Writes the counters of any port (§7.3.5.6).
pub(super) fn write_counters(out: &mut Vec<u8>, s: &PortStats) {
    let counters = [
        s.rx_packets,
        s.tx_packets,
        s.rx_bytes,
        s.tx_bytes,
        s.rx_dropped,
        s.tx_dropped,
        s.rx_errors,
        s.tx_errors,
    ];
    counters.iter().for_each(|c| out.u64(*c));
}

/// Reads the counters of any port.
pub(super) fn read_counters(r: &mut Reader<'_>, port: PortNo) -> Decoded<PortStats> {
    let mut s = uncounted(port);
    let counters = [
        &mut s.rx_packets,
        &mut s.tx_packets,
        &mut s.rx_bytes,
        &mut s.tx_bytes,
        &mut s.rx_dropped,
        &mut s.tx_dropped,
        &mut s.rx_errors,
        &mut s.tx_errors,
    ];
    for counter in counters {
        *counter = r.u64()?;
    }
    Ok(s)
}

/// Writes the counters that Ethernet ports have beside those of any port.
pub(super) fn write_ethernet_counters(out: &mut Vec<u8>, s: &PortStats) {
    [s.rx_frame_err, s.rx_over_err, s.rx_crc_err, s.collisions].iter().for_each(|c| out.u64(*c));
}

/// Reads the counters that Ethernet ports have beside those of any port.
pub(super) fn read_ethernet_counters(r: &mut Reader<'_>, s: &mut PortStats) -> Decoded<()> {
    for counter in [&mut s.rx_frame_err, &mut s.rx_over_err, &mut s.rx_crc_err, &mut s.collisions] {
        *counter = r.u64()?;
    }
    Ok(())
}

/// Writes the counters of a queue (§7.3.5.8).
pub(super) fn write_queue_counters(out: &mut Vec<u8>, s: &QueueStats) {
    [s.tx_bytes, s.tx_packets, s.tx_errors].iter().for_each(|c| out.u64(*c));
}

/// Reads the counters of a queue.
pub(super) fn read_queue_counters(
    r: &mut Reader<'_>,
    (port, queue): (PortNo, crate::QueueId),
) -> Decoded<QueueStats> {
    let (tx_bytes, tx_packets, tx_errors) = (r.u64()?, r.u64()?, r.u64()?);
    Ok(QueueStats { port, queue, tx_bytes, tx_packets, tx_errors, duration: Duration::ZERO })
}
