//! Mutations that keep pieces of a fixed size whole, so that a change to one operation leaves the others what they are.

/// A small generator (xorshift64*): fuzzing wants repeatable, not good, numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

/// Mutates an input of `size` bytes in place, `head` bytes and then pieces; returns its new size. `bytes` changes the
/// bytes of one piece.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    (head, piece): (usize, usize),
    seed: u32,
    bytes: impl FnOnce(&mut [u8]),
) -> usize {
    let room = data.len();
    if room < head + piece {
        return size.min(room);
    }
    let mut numbers = Numbers(u64::from(seed) << 1 | 1);
    (0..4).for_each(|_| _ = numbers.below(2));
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for part in data[head.min(size)..size].chunks(piece) {
        let mut whole = part.to_vec();
        whole.resize(piece, 0);
        pieces.push(whole);
    }
    let n_most = (room - head) / piece;
    let at = numbers.below(pieces.len());
    match numbers.below(16) {
        _ if pieces.is_empty() => pieces.push(fresh(&mut numbers, piece)),
        0..=5 => bytes(&mut pieces[at]),
        6..=7 => {
            let n = numbers.below(piece);
            pieces[at][n] = numbers.below(256) as u8;
        }
        8..=9 => pieces.insert(at, fresh(&mut numbers, piece)),
        // What happened once happens again, often with a little change.
        10..=12 => {
            let to = numbers.below(pieces.len() + 1);
            let mut copy = pieces[at].clone();
            if numbers.below(2) == 0 {
                let n = numbers.below(piece / 2);
                copy[n] = numbers.below(256) as u8;
            }
            pieces.insert(to, copy);
        }
        13 => drop(pieces.remove(at)),
        14 => {
            let to = numbers.below(pieces.len());
            pieces.swap(at, to);
        }
        _ => {
            let end = (at + 1 + numbers.below(8)).min(pieces.len());
            let run = pieces[at..end].to_vec();
            let to = numbers.below(pieces.len() + 1);
            pieces.splice(to..to, run);
        }
    }
    pieces.truncate(n_most);
    if numbers.below(32) == 0 {
        data[..head].fill(numbers.below(256) as u8);
    }
    for (place, piece) in data[head..].chunks_exact_mut(piece).zip(&pieces) {
        place.copy_from_slice(piece);
    }
    head + pieces.len() * piece
}

fn fresh(numbers: &mut Numbers, piece: usize) -> Vec<u8> {
    (0..piece).map(|_| numbers.below(256) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_stay_whole_and_fit() {
        let mut data = vec![0; 1 + 4 * 10 + 3];
        let mut size = 0;
        for seed in 0..2_000 {
            size = mutate(&mut data, size, (1, 4), seed, |piece| piece.reverse());
            assert!(size <= data.len() && (size - 1) % 4 == 0, "{size}");
        }
        assert!(size > 1);
    }
}
