//! Next hops that share traffic by flow (RFC 2992), so that a change of one moves only its own flows.

use lookup::mix;

use super::{Alive, Hop, HopId};

/// Flows are dealt into this many buckets.
const N_BUCKETS: usize = 512;

/// One of several next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub hop: Hop,
    pub id: HopId,
    pub weight: u16,
}

/// Next hops, and which of them has each bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    members: Vec<Member>,
    buckets: Vec<u8>,
}

impl Group {
    /// Each bucket goes to the member with the highest score there (weighted rendezvous): who is not there takes none of
    /// another's away. At most 255 members count.
    pub(crate) fn new(mut members: Vec<Member>) -> Self {
        members.truncate(usize::from(u8::MAX));
        let score = |bucket: usize, m: &Member| {
            let uniform = (mix(bucket as u64 ^ u64::from(m.id) << 32) >> 11) as f64 / (1u64 << 53) as f64;
            -f64::from(m.weight.max(1)) / uniform.max(f64::MIN_POSITIVE).ln()
        };
        let best = |bucket: usize| {
            let scores = members.iter().map(|m| score(bucket, m)).enumerate();
            scores.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at as u8)
        };
        let buckets = (0..N_BUCKETS).map(best).collect();
        Self { members, buckets }
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        self.members.iter().map(|m| m.hop)
    }

    /// The member for a flow. Flows of one that is down are dealt to the others; theirs stay.
    #[inline]
    pub(crate) fn select(&self, hash: u64, alive: &Alive) -> &Hop {
        let member = |hash: u64| &self.members[usize::from(self.buckets[hash as usize % N_BUCKETS])];
        let first = member(hash);
        if alive.is_up(first.id) {
            return &first.hop;
        }
        let others = (1..16u64).map(|turn| member(mix(hash ^ turn)));
        let up = others.chain(&self.members).find(|m| alive.is_up(m.id));
        &up.unwrap_or(first).hop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weights: &[(HopId, u16)]) -> Group {
        let member =
            |(id, weight): &(HopId, u16)| Member { hop: Hop::Connected(*id), id: *id, weight: *weight };
        Group::new(weights.iter().map(member).collect())
    }

    fn flows() -> impl Iterator<Item = u64> {
        (0..20_000).map(mix)
    }

    #[test]
    fn r16_shares_by_weight() {
        let (group, alive) = (group(&[(1, 1), (2, 3)]), Alive::default());
        let n = flows().filter(|f| *group.select(*f, &alive) == Hop::Connected(2)).count();
        assert!((14_000..16_000).contains(&n), "{n} of 20,000 with three quarters of the weight");
    }

    #[test]
    fn r16_who_leaves_moves_only_its_own_flows() {
        let (four, alive) = (group(&[(1, 1), (2, 1), (3, 1), (4, 1)]), Alive::default());
        let three = group(&[(1, 1), (2, 1), (4, 1)]);
        let down = Alive::default();
        down.set(3, false);
        let mut n_moved = 0;
        for flow in flows() {
            let before = *four.select(flow, &alive);
            let (gone, dead) = (*three.select(flow, &alive), *four.select(flow, &down));
            match before == Hop::Connected(3) {
                true => n_moved += 1,
                false => assert_eq!((gone, dead), (before, before)),
            }
            assert_ne!(dead, Hop::Connected(3));
        }
        assert!((4_000..6_000).contains(&n_moved), "{n_moved}");
    }

    #[test]
    fn with_all_down_the_first_choice_stays() {
        let (group, alive) = (group(&[(1, 1), (2, 1)]), Alive::default());
        let before = *group.select(7, &alive);
        [1, 2].into_iter().for_each(|id| alive.set(id, false));
        assert_eq!(*group.select(7, &alive), before);
    }
}
