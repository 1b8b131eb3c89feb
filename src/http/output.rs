//! Bytes that wait to be sent: static pages are queued without a copy, small writes share a buffer.

use std::borrow::Cow;
use std::collections::VecDeque;

/// Small writes are gathered up to this size.
const GATHER: usize = 4096;

/// A queue of chunks. Empty, it holds no memory worth naming.
#[derive(Debug, Default)]
pub(super) struct Output {
    chunks: VecDeque<Cow<'static, [u8]>>,
    offset: usize,
    length: usize,
}

impl Output {
    /// Queues bytes behind what is there.
    pub(super) fn push(&mut self, bytes: Cow<'static, [u8]>) {
        if bytes.is_empty() {
            return;
        }
        self.length += bytes.len();
        if let Some(Cow::Owned(last)) = self.chunks.back_mut()
            && last.len() + bytes.len() <= GATHER
        {
            last.extend_from_slice(&bytes);
            return;
        }
        self.chunks.push_back(bytes);
    }

    /// The bytes to be sent next.
    pub(super) fn front(&self) -> &[u8] {
        self.chunks.front().and_then(|chunk| chunk.get(self.offset..)).unwrap_or_default()
    }

    /// Forgets the first `count` bytes: they were sent.
    pub(super) fn consume(&mut self, count: usize) {
        let mut count = count.min(self.length);
        self.length -= count;
        while count > 0 {
            let rest = self.front().len();
            if count < rest {
                self.offset += count;
                return;
            }
            count -= rest;
            self.offset = 0;
            self.chunks.pop_front();
        }
        if self.chunks.is_empty() {
            self.chunks.shrink_to(0);
        }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Output::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_pushed_in_any_portions() {
        for step in 1..40 {
            let mut output = Output::default();
            let mut expected = Vec::new();
            for n in 0..50_usize {
                let bytes = vec![n as u8; n * 97 % 1500];
                expected.extend_from_slice(&bytes);
                output.push(if n % 3 == 0 { Cow::Owned(bytes) } else { Cow::Owned(bytes.repeat(1)) });
            }
            output.push(Cow::Borrowed(b"static"));
            expected.extend_from_slice(b"static");
            let mut seen = Vec::new();
            while output.len() > 0 {
                let front = output.front();
                let taken = front.len().min(step * 31);
                seen.extend_from_slice(&front[..taken]);
                output.consume(taken);
            }
            assert_eq!(seen, expected);
            assert!(output.front().is_empty());
            output.consume(7);
        }
    }
}
