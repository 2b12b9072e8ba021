//! Reading and writing capture files, and the port that replays one.
//!
//! The classic format only (`draft-ietf-opsawg-pcap`): magic in either byte order, microseconds or nanoseconds.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};
use packet::{Batch, Frame, MacAddr, Pool};

use crate::counters::{PortCounters, PortDrop};
use crate::port::{LinkProbe, Offload, Port, PortError, PortInfo};
use crate::tx::Finisher;

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
/// No record of a sane file is longer (libpcap's MAXIMUM_SNAPLEN).
const MAX_RECORD: usize = 262_144;

/// Why a capture file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    /// Not readable or writable.
    #[error("cannot access the capture file")]
    Io(#[from] io::Error),
    /// Another format.
    #[error("not a classic pcap file (magic {0:#010x}; pcapng must be converted first)")]
    Magic(u32),
    /// Not of Ethernet frames.
    #[error("link type {0} is not Ethernet")]
    LinkType(u32),
    /// A record longer than any may be.
    #[error("a record of {0} bytes is longer than any frame")]
    Record(usize),
    /// Nothing is in it.
    #[error("the file is empty")]
    Empty,
    /// Less than the header of the format is in it.
    #[error("the file ends in the middle of its header")]
    CutHeader,
    /// The last frame, counted from 1, is not all there.
    #[error("the file ends in the middle of frame {0}")]
    CutFrame(u64),
    /// What is wrong with which file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What.
        #[source]
        source: Box<PcapError>,
    },
}

impl PcapError {
    /// That there is no more to read means something else than that it cannot be read.
    fn at_end(self, meaning: Self) -> Self {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => meaning,
            other => other,
        }
    }

    fn of(self, path: &Path) -> Self {
        Self::File { path: path.to_owned(), source: Box::new(self) }
    }
}

/// A record of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since 1970.
    pub nanos: u64,
    /// Bytes the frame had; more than `bytes` when the capture cut it.
    pub original_len: u32,
    /// What was captured.
    pub bytes: Vec<u8>,
}

/// Reads records one after another.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    swapped: bool,
    nanos_per_tick: u64,
    n_records: u64,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a capture of Ethernet frames.
    pub fn open(path: &Path) -> Result<Self, PcapError> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file header.
    ///
    /// # Errors
    /// When it is not one of Ethernet frames.
    pub fn new(mut input: R) -> Result<Self, PcapError> {
        let mut header = [0; 24];
        if input.read(&mut header[..1])? == 0 {
            return Err(PcapError::Empty);
        }
        let rest = input.read_exact(&mut header[1..]).map_err(PcapError::from);
        rest.map_err(|error| error.at_end(PcapError::CutHeader))?;
        let magic = word(&header, 0, false);
        let (swapped, nanos_per_tick) = match (magic, magic.swap_bytes()) {
            (MAGIC_MICROS, _) => (false, 1000),
            (MAGIC_NANOS, _) => (false, 1),
            (_, MAGIC_MICROS) => (true, 1000),
            (_, MAGIC_NANOS) => (true, 1),
            _ => return Err(PcapError::Magic(magic)),
        };
        // The upper bits tell of frame check sequences.
        match word(&header, 20, swapped) & 0xffff {
            LINKTYPE_ETHERNET => Ok(Self { input, swapped, nanos_per_tick, n_records: 0 }),
            other => Err(PcapError::LinkType(other)),
        }
    }

    /// The next record; none at the end of the file.
    ///
    /// # Errors
    /// When the file ends in the middle of a record or the record's length is a lie.
    pub fn next_record(&mut self) -> Result<Option<Record>, PcapError> {
        self.n_records += 1;
        self.read_record().map_err(|error| error.at_end(PcapError::CutFrame(self.n_records)))
    }

    fn read_record(&mut self) -> Result<Option<Record>, PcapError> {
        let mut header = [0; 16];
        match self.input.read(&mut header[..1])? {
            0 => return Ok(None),
            _ => self.input.read_exact(&mut header[1..])?,
        }
        let field = |at| word(&header, at, self.swapped);
        let len = field(8) as usize;
        if len > MAX_RECORD {
            return Err(PcapError::Record(len));
        }
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes)?;
        let nanos = u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * self.nanos_per_tick;
        Ok(Some(Record { nanos, original_len: field(12), bytes }))
    }
}

fn word(bytes: &[u8], at: usize, swapped: bool) -> u32 {
    let value = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if swapped { value.swap_bytes() } else { value }
}

/// Writes a capture file with nanoseconds.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
}

impl Writer<BufWriter<File>> {
    /// Creates or empties a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::new(BufWriter::new(File::create(path)?))
    }
}

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(mut output: W) -> io::Result<Self> {
        let words = [MAGIC_NANOS, 2 | 4 << 16, 0, 0, MAX_RECORD as u32, LINKTYPE_ETHERNET];
        for word in words {
            output.write_all(&word.to_le_bytes())?;
        }
        Ok(Self { output })
    }

    /// Writes one frame, given in pieces, with the time in nanoseconds since 1970.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, nanos: u64, pieces: &[&[u8]]) -> io::Result<()> {
        let len: usize = pieces.iter().map(|p| p.len()).sum();
        let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        for word in [secs as u32, rest as u32, len as u32, len as u32] {
            self.output.write_all(&word.to_le_bytes())?;
        }
        pieces.iter().try_for_each(|piece| self.output.write_all(piece))
    }

    /// Hands everything to the operating system.
    ///
    /// # Errors
    /// Those of the output.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Receives the frames of a file once, as fast as they are asked for; writes what it is sent to another.
#[derive(Debug)]
pub struct PcapPort {
    reader: Option<Reader<BufReader<File>>>,
    writer: Option<Writer<BufWriter<File>>>,
    /// Readable until the file has been read.
    event: EventFd,
    info: PortInfo,
    counters: PortCounters,
    finisher: Finisher,
    /// What is received.
    input: PathBuf,
}

impl PcapPort {
    /// Replays `input`; what is sent goes to `output`, or nowhere.
    ///
    /// # Errors
    /// When one of the files cannot be used.
    pub fn open(input: &Path, output: Option<&Path>) -> Result<Self, PcapError> {
        let reader = Some(Reader::open(input)?);
        let writer = output.map(Writer::create).transpose()?;
        let event = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(io::Error::from)?;
        let name = input.file_name().map_or_else(|| "pcap".into(), |n| n.to_string_lossy());
        let info = PortInfo {
            name: name.into_owned(),
            spec: format!("pcap:{}", input.display()),
            mac: MacAddr([0x02, 0x70, 0x63, 0x61, 0x70, 0]),
            mtu: 65_535,
            offload: Offload::NONE,
            note: None,
        };
        let finisher = Finisher::new(Offload::NONE);
        Ok(Self {
            reader,
            writer,
            event,
            info,
            counters: PortCounters::default(),
            finisher,
            input: input.to_owned(),
        })
    }

    fn end(&mut self) {
        self.reader = None;
        // Fails only when it was not readable.
        let _ = self.event.read();
    }
}

impl Port for PcapPort {
    fn receive(&mut self, pool: &mut Pool, batch: &mut Batch, max: usize) -> Result<usize, PortError> {
        let before = batch.len();
        while batch.len() - before < max {
            let Some(reader) = &mut self.reader else { break };
            let record = match reader.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.end();
                    break;
                }
                Err(error) => {
                    self.end();
                    return Err(PortError::Io(io::Error::other(error.of(&self.input))));
                }
            };
            if record.bytes.len() < 14 {
                self.counters.drop_n(PortDrop::RxTooShort, 1);
            } else if let Some(frame) = pool.frame_from(&record.bytes) {
                self.counters.received(&frame);
                batch.push(frame);
            } else {
                self.counters.drop_n(PortDrop::RxTooLong, 1);
            }
        }
        Ok(batch.len() - before)
    }

    fn transmit(&mut self, pool: &mut Pool, frames: &mut Vec<Frame>) -> Result<(), PortError> {
        self.finisher.finish(pool, frames, &mut self.counters);
        let mut result = Ok(());
        for frame in frames.drain(..) {
            self.counters.sent(&frame);
            if let Some(writer) = &mut self.writer {
                // Time zero: a replay is to give the same file each time.
                result = result.and(writer.write(0, &[frame.head(), frame.tail()]));
            }
            pool.free(frame);
        }
        if let Some(writer) = &mut self.writer {
            result = result.and(writer.flush());
        }
        result.map_err(PortError::Io)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.event.as_fd())
    }

    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&mut self) -> PortCounters {
        self.counters
    }

    fn link_probe(&self) -> LinkProbe {
        LinkProbe::always_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(records: &[(u64, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).expect("writes");
        for (nanos, bytes) in records {
            let (a, b) = bytes.split_at(bytes.len() / 2);
            writer.write(*nanos, &[a, b]).expect("writes");
        }
        writer.output
    }

    #[test]
    fn what_is_written_is_read_in_either_byte_order() {
        let mut bytes = file(&[(1_500_000_000_000_000_007, &[1; 60]), (2, &[2; 1514])]);
        for _ in 0..2 {
            let mut reader = Reader::new(&bytes[..]).expect("a capture file");
            let first = reader.next_record().expect("whole").expect("there");
            assert_eq!(
                (first.nanos, first.original_len, first.bytes),
                (1_500_000_000_000_000_007, 60, vec![1; 60])
            );
            assert_eq!(reader.next_record().expect("whole").expect("there").bytes.len(), 1514);
            assert_eq!(reader.next_record().expect("whole"), None);
            // Once more, with the headers of the other byte order.
            let (second, third) = (24, 24 + 16 + 60);
            for at in (0..24)
                .step_by(4)
                .chain((second..second + 16).step_by(4))
                .chain((third..third + 16).step_by(4))
            {
                bytes[at..at + 4].reverse();
            }
        }
    }

    #[test]
    fn bad_files_are_refused_and_never_panic() {
        let whole = file(&[(1, &[1; 60])]);
        for n in 0..whole.len() {
            let read = Reader::new(&whole[..n]).and_then(|mut r| r.next_record());
            let words = read.map_err(|error| error.to_string());
            match n {
                0 => assert_eq!(words, Err("the file is empty".into())),
                1..24 => {
                    assert_eq!(words, Err("the file ends in the middle of its header".into()), "cut at {n}")
                }
                24 => assert_eq!(words, Ok(None)),
                _ => assert_eq!(words, Err("the file ends in the middle of frame 1".into()), "cut at {n}"),
            }
        }
        let mut other = whole.clone();
        other[20] = 105;
        assert!(matches!(Reader::new(&other[..]), Err(PcapError::LinkType(105))));
        let mut long = whole;
        long[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            Reader::new(&long[..]).and_then(|mut r| r.next_record()),
            Err(PcapError::Record(_))
        ));
    }

    #[test]
    fn a_replay_receives_each_frame_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let (input, output) = (dir.path().join("in.pcap"), dir.path().join("out.pcap"));
        std::fs::write(&input, file(&[(1, &[1; 60]), (2, &[2; 10]), (3, &[3; 3000])])).expect("written");
        let mut port = PcapPort::open(&input, Some(&output)).expect("opens");
        let (mut pool, mut batch) = (Pool::default(), Batch::new());
        assert_eq!(port.receive(&mut pool, &mut batch, 64).expect("reads"), 2);
        assert_eq!(port.counters()[PortDrop::RxTooShort], 1);
        port.transmit(&mut pool, &mut batch).expect("writes");
        let mut reader = Reader::open(&output).expect("a capture file");
        assert_eq!(reader.next_record().expect("whole").expect("there").bytes, [1; 60]);
        assert_eq!(reader.next_record().expect("whole").expect("there").bytes, [3; 3000]);
    }
}
