//! Makes an input that fails smaller while it still fails.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use crate::Target;

/// Whether the target panics on these bytes.
pub fn fails(target: &Target, data: &[u8]) -> bool {
    let run = AssertUnwindSafe(|| (target.run)(data));
    catch_unwind(run).is_err()
}

/// The smallest input found: pieces are taken out, then bytes, then bytes become zero. Tries `n_tries` inputs at most.
pub fn minimise(target: &Target, data: &[u8], n_tries: usize) -> Vec<u8> {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let mut search = Search { target, best: data.to_vec(), left: n_tries };
    loop {
        let before = search.best.clone();
        search.take_out(target.head, target.piece);
        if target.piece < 64 {
            search.take_out(0, 1);
        }
        search.clear();
        if search.best == before || search.left == 0 {
            break;
        }
    }
    set_hook(hook);
    search.best
}

struct Search<'a> {
    target: &'a Target,
    best: Vec<u8>,
    left: usize,
}

impl Search<'_> {
    /// Keeps `candidate` if it fails too.
    fn try_it(&mut self, candidate: Vec<u8>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let smaller = fails(self.target, &candidate);
        if smaller {
            self.best = candidate;
        }
        smaller
    }

    /// Takes out ever shorter runs of pieces.
    fn take_out(&mut self, head: usize, piece: usize) {
        let mut size = (self.best.len() / 2).next_multiple_of(piece);
        while size >= piece {
            let mut at = head;
            while at < self.best.len() {
                let end = (at + size).min(self.best.len());
                let candidate = [&self.best[..at], &self.best[end..]].concat();
                if !self.try_it(candidate) {
                    at += size;
                }
            }
            if size == piece {
                return;
            }
            size = (size / 2).next_multiple_of(piece);
        }
    }

    fn clear(&mut self) {
        let mut size = 16;
        while size > 0 {
            for at in (0..self.best.len()).step_by(size) {
                let end = (at + size).min(self.best.len());
                if self.best[at..end].iter().any(|&byte| byte != 0) {
                    let mut candidate = self.best.clone();
                    candidate[at..end].fill(0);
                    self.try_it(candidate);
                }
            }
            size /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        fn run(data: &[u8]) {
            assert!(!(data.contains(&7) && data.contains(&9)), "seven and nine");
        }
        let describe = |_: &[u8]| String::new();
        let target = Target { name: "test", run, head: 0, piece: 1, describe };
        let data: Vec<u8> = (0..200).collect();
        assert_eq!(minimise(&target, &data, 10_000), [7, 9]);
    }
}
