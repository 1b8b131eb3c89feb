//! The rings between shards: one for each ordered pair, bounded, with a wake-up at the far end.

use super::mail::Mail;
use crate::base::ShardId;
use crate::net::Waker;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

#[derive(Debug)]
struct Post {
    ring: SyncSender<Mail>,
    waker: Waker,
    pending: bool,
}

/// One shard's ends of all rings.
#[derive(Debug)]
pub struct Mailboxes {
    // By shard number; none to oneself.
    out: Vec<Option<Post>>,
    inside: Vec<(ShardId, Receiver<Mail>)>,
    next: usize,
    backlog: bool,
    shed: u64,
    sent: u64,
    received: u64,
}

impl Mailboxes {
    /// The ends for as many shards as there are wakers, with room for `cap` messages from each to each.
    pub fn connect(wakers: &[Waker], cap: usize) -> Vec<Mailboxes> {
        let empty = || Mailboxes {
            out: Vec::new(),
            inside: Vec::new(),
            next: 0,
            backlog: false,
            shed: 0,
            sent: 0,
            received: 0,
        };
        let mut all: Vec<Mailboxes> = wakers.iter().map(|_| empty()).collect();
        for from in 0..wakers.len() {
            for (to, waker) in wakers.iter().enumerate() {
                if from == to {
                    all[from].out.push(None);
                    continue;
                }
                let (ring, end) = sync_channel(cap);
                all[from].out.push(Some(Post { ring, waker: waker.clone(), pending: false }));
                all[to].inside.push((ShardId(from as u8), end));
            }
        }
        all
    }

    /// Puts a message on its way. A full ring gives it back.
    pub fn send(&mut self, to: ShardId, mail: Mail) -> Result<(), Mail> {
        let Some(Some(post)) = self.out.get_mut(usize::from(to.0)) else {
            self.shed += 1;
            return Ok(());
        };
        post.pending = true;
        match post.ring.try_send(mail) {
            Ok(()) => {
                self.sent += 1;
                Ok(())
            }
            Err(TrySendError::Full(mail)) => {
                self.shed += 1;
                Err(mail)
            }
            // Its thread has ended: the process is stopping.
            Err(TrySendError::Disconnected(_)) => {
                self.shed += 1;
                Ok(())
            }
        }
    }

    /// Wakes every shard that was written to since the last call.
    pub fn wake(&mut self) {
        for post in self.out.iter_mut().flatten().filter(|post| post.pending) {
            post.pending = false;
            post.waker.wake();
        }
    }

    /// The next message from any shard, each in its turn.
    pub fn receive(&mut self) -> Option<(ShardId, Mail)> {
        self.backlog = false;
        for _ in 0..self.inside.len() {
            let (from, ring) = self.inside.get(self.next)?;
            self.next = (self.next + 1) % self.inside.len();
            match ring.try_recv() {
                Ok(mail) => {
                    self.received += 1;
                    return Some((*from, mail));
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
        None
    }

    /// Says that the reader stopped before the rings were empty: their wake-up is spent.
    pub fn leave_rest(&mut self) {
        self.backlog = true;
    }

    /// Whether there may be messages for which no wake-up will come.
    pub fn backlog(&self) -> bool {
        self.backlog
    }

    /// Messages that were put into rings, and taken out of them: over all shards, the difference is on its way.
    pub fn passed(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// Messages shed because a ring was full, or its reader gone.
    pub fn shed(&self) -> u64 {
        self.shed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FlowId;
    use crate::net::Poll;

    fn closed(n: u64) -> Mail {
        Mail::Closed { flow: FlowId::from_bits(n) }
    }

    fn number(mail: &Mail) -> u64 {
        match mail {
            Mail::Closed { flow } => flow.to_bits(),
            _ => panic!("another mail"),
        }
    }

    #[test]
    fn a_full_ring_sheds_and_counts_and_keeps_what_it_has() {
        let polls: Vec<Poll> = (0..3).map(|n| Poll::new(ShardId(n), 8).unwrap()).collect();
        let wakers: Vec<Waker> = polls.iter().map(Poll::waker).collect();
        let mut boxes = Mailboxes::connect(&wakers, 4);
        for n in 0..10 {
            let back = boxes[0].send(ShardId(2), closed(n));
            assert_eq!(back.err().map(|mail| number(&mail)), (n >= 4).then_some(n));
        }
        assert_eq!(boxes[0].shed(), 6);
        boxes[1].send(ShardId(2), closed(100)).unwrap();
        boxes[1].send(ShardId(1), closed(0)).unwrap();
        boxes[1].send(ShardId(9), closed(0)).unwrap();
        assert_eq!(boxes[1].shed(), 2);
        let mut got = Vec::new();
        while let Some((from, mail)) = boxes[2].receive() {
            got.push((from.0, number(&mail)));
        }
        // The rings take turns, so that a busy sender never starves another.
        assert_eq!(got, [(0, 0), (1, 100), (0, 1), (0, 2), (0, 3)]);
        assert!(boxes[1].receive().is_none());
    }

    #[test]
    fn writing_wakes_the_reader_once() {
        let mut polls: Vec<Poll> = (0..2).map(|n| Poll::new(ShardId(n), 8).unwrap()).collect();
        let wakers: Vec<Waker> = polls.iter().map(Poll::waker).collect();
        let mut boxes = Mailboxes::connect(&wakers, 4);
        boxes[0].send(ShardId(1), closed(1)).unwrap();
        boxes[0].send(ShardId(1), closed(2)).unwrap();
        boxes[0].wake();
        polls[1].wait(None).unwrap();
        assert_eq!(polls[1].ready().count(), 1);
        polls[1].wait(Some(std::time::Duration::ZERO)).unwrap();
        assert_eq!(polls[1].ready().count(), 0);
    }
}
