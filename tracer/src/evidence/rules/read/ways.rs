//! What of the rule sets lies on the ways of SYNs: a large node has tens of thousands of
//! rules, and a SYN may come to a few hundred of them.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use super::nftables;
use crate::evidence::{
    netlink::{Failed, Socket},
    rules::{Syn, legacy::Block, nft::Builder, walk::Walk},
};

/// Sets asked for their elements, and elements kept.
const SETS: usize = 64;
pub(super) const ELEMENTS: usize = 32_768;
/// Rounds of looking which chains and sets it takes: each goes one jump further.
const ROUNDS: usize = 24;
/// Chains asked for their rules in one round.
const CHAINS: usize = 1024;

/// Where more is read.
pub(super) struct Sources<'a> {
    /// Of iptables-legacy.
    pub blocks: &'a [Block],
    /// Of nftables; `None`: it is not there, or does not answer.
    pub socket: Option<Socket>,
}

impl Sources<'_> {
    /// Reads the rules of chains, and the elements of sets, that it takes to follow these
    /// SYNs.
    pub(super) fn follow(
        &mut self,
        builder: &mut Builder,
        syns: &[Syn],
        own: Option<&[IpAddr]>,
        deadline: Instant,
        troubles: &mut Vec<String>,
    ) -> Result<(), Failed> {
        let (mut asked, mut left) = (0, ELEMENTS);
        let mut open: Vec<&Syn> = syns.iter().collect();
        for _ in 0..ROUNDS {
            let (missing, unread) = self.wanted(builder, &mut open, own, deadline)?;
            if missing.is_empty() && unread.is_empty() {
                return Ok(());
            }
            self.rules(builder, &unread, deadline, troubles)?;
            let Some(socket) = &mut self.socket else {
                continue;
            };
            for set in missing {
                asked += 1;
                if asked > SETS {
                    troubles.push(format!(
                        "nftables: of more than {SETS} sets no elements are read"
                    ));
                    return Ok(());
                }
                nftables::fill(socket, builder, set, &mut left, deadline, troubles)?;
            }
        }
        Ok(())
    }

    /// The sets and chains that are missed on the ways of the SYNs that are still `open`,
    /// and can be had.
    fn wanted(
        &self,
        builder: &Builder,
        open: &mut Vec<&Syn>,
        own: Option<&[IpAddr]>,
        deadline: Instant,
    ) -> Result<(BTreeSet<u32>, Vec<u32>), Failed> {
        let tables = &builder.tables;
        let (mut missing, mut unread) = (BTreeSet::new(), BTreeSet::new());
        let mut late = false;
        open.retain(|syn| {
            late |= Instant::now() >= deadline;
            if late {
                return true;
            }
            let more = Walk::new(tables, own, syn).all(syn);
            missing.extend(&more.missing);
            unread.extend(&more.unread);
            !more.missing.is_empty() || !more.unread.is_empty()
        });
        if late {
            return Err(Failed::Late);
        }
        missing.retain(|set| {
            let set = tables.sets.get(*set as usize);
            self.socket.is_some() && set.is_some_and(|set| set.elements.is_none() && !set.odd)
        });
        unread.retain(|chain| self.socket.is_some() || self.block(*chain).is_some());
        Ok((missing, unread.into_iter().take(CHAINS).collect()))
    }

    fn block(&self, chain: u32) -> Option<&Block> {
        self.blocks.iter().find(|block| block.has(chain))
    }

    fn rules(
        &mut self,
        builder: &mut Builder,
        chains: &[u32],
        deadline: Instant,
        troubles: &mut Vec<String>,
    ) -> Result<(), Failed> {
        let mut others = Vec::new();
        for chain in chains {
            match self.block(*chain) {
                Some(_) if Instant::now() >= deadline => return Err(Failed::Late),
                Some(block) => block.read(&mut builder.tables, *chain),
                None => others.push(*chain),
            }
        }
        match &mut self.socket {
            Some(socket) => nftables::rules(socket, builder, &others, deadline, troubles),
            None => Ok(()),
        }
    }
}
