//! Request bodies: by Content-Length or chunked (RFC 9112 section 7.1), never longer than allowed.

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; often none.
    Length(usize),
    /// With a chunk of size 0 and the trailer.
    Chunked,
}

/// The far side's chunks make no sense, or are too much: the status that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBody(pub(super) u16);

/// A chunk's size line, with extensions that nobody reads, may have so many bytes; so may each trailer line.
const MAX_LINE: usize = 1024;
/// Trailer lines are skipped; more than so many are an attack.
const MAX_TRAILERS: usize = 32;

/// A body being received.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    cap: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many bytes are missing, and then it is done.
    Plain(usize),
    Size,
    Chunk(usize),
    ChunkEnd,
    Trailer(usize),
    Done,
}

impl Body {
    /// Refuses a length that is too much before a byte of it is kept.
    pub(super) fn new(framing: Framing, cap: usize) -> Result<Body, BadBody> {
        let step = match framing {
            Framing::Length(length) if length > cap => return Err(BadBody(413)),
            Framing::Length(length) => Step::Plain(length),
            Framing::Chunked => Step::Size,
        };
        Ok(Body { bytes: Vec::new(), cap, step })
    }

    /// Takes what it can from the front of `input`; gives how much, and whether the body is complete.
    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> Result<(usize, bool), BadBody> {
        let mut rest = input;
        loop {
            match self.step {
                Step::Plain(missing) => {
                    let missing = missing - self.take(&mut rest, missing);
                    self.step = if missing == 0 { Step::Done } else { Step::Plain(missing) };
                    if missing > 0 {
                        break;
                    }
                }
                Step::Size => {
                    let Some(line) = take_line(&mut rest)? else { break };
                    let size = chunk_size(line).ok_or(BadBody(400))?;
                    if size > self.cap.saturating_sub(self.bytes.len()) {
                        return Err(BadBody(413));
                    }
                    self.step = if size == 0 { Step::Trailer(0) } else { Step::Chunk(size) };
                }
                Step::Chunk(missing) => {
                    let missing = missing - self.take(&mut rest, missing);
                    self.step = if missing == 0 { Step::ChunkEnd } else { Step::Chunk(missing) };
                    if missing > 0 {
                        break;
                    }
                }
                Step::ChunkEnd => match rest {
                    [b'\r', b'\n', after @ ..] => {
                        rest = after;
                        self.step = Step::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(BadBody(400)),
                },
                Step::Trailer(count) => {
                    let Some(line) = take_line(&mut rest)? else { break };
                    if count >= MAX_TRAILERS {
                        return Err(BadBody(431));
                    }
                    self.step = if line.is_empty() { Step::Done } else { Step::Trailer(count + 1) };
                }
                Step::Done => break,
            }
        }
        Ok((input.len() - rest.len(), self.step == Step::Done))
    }

    /// The body.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn take(&mut self, rest: &mut &[u8], most: usize) -> usize {
        let count = most.min(rest.len());
        let (taken, after) = rest.split_at(count);
        self.bytes.extend_from_slice(taken);
        *rest = after;
        count
    }
}

/// A line without its CRLF. A CR or LF alone is refused: proxies disagree about them, and smuggling lives from that.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadBody> {
    let Some(end) = rest.iter().position(|&b| b == b'\r' || b == b'\n') else {
        return if rest.len() > MAX_LINE { Err(BadBody(431)) } else { Ok(None) };
    };
    if end > MAX_LINE {
        return Err(BadBody(431));
    }
    let (line, after) = rest.split_at(end);
    match after {
        [b'\r', b'\n', after @ ..] => {
            *rest = after;
            Ok(Some(line))
        }
        [b'\r'] => Ok(None),
        _ => Err(BadBody(400)),
    }
}

/// 1 to 7 hexadecimal digits, then nothing or an extension.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (number, after) = line.split_at(digits);
    let extension = after.iter().find(|&&b| b != b' ' && b != b'\t');
    if !(1..=7).contains(&digits) || !matches!(extension, None | Some(b';')) {
        return None;
    }
    if after.iter().any(|&b| b != b'\t' && (b < b' ' || b == 0x7f)) {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(number).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], portion: usize, cap: usize) -> Result<(Vec<u8>, usize), BadBody> {
        let mut body = Body::new(Framing::Chunked, cap)?;
        let (mut buffer, mut used) = (Vec::new(), 0);
        for part in input.chunks(portion) {
            buffer.extend_from_slice(part);
            let (taken, done) = body.handle_bytes(&buffer)?;
            buffer.drain(..taken);
            used += taken;
            if done {
                return Ok((body.into_bytes(), used));
            }
        }
        Err(BadBody(0))
    }

    #[test]
    fn joins_chunks_in_any_portions() {
        let input =
            b"4\r\nWiki\r\n5;name=\"v\"\r\npedia\r\nE \r\n in\r\n\r\nchunks.\r\n0\r\nTrailer: x\r\n\r\nGET";
        for portion in 1..input.len() {
            let (body, used) = decode(input, portion, 100).unwrap();
            assert_eq!(body, b"Wikipedia in\r\n\r\nchunks.");
            assert_eq!(used, input.len() - 3);
        }
    }

    #[test]
    fn refuses_what_proxies_disagree_about() {
        for bad in [
            &b"4\nWiki\r\n0\r\n\r\n"[..],
            b"4\rXWiki",
            b"0x4\r\nWiki\r\n",
            b"+4\r\nWiki\r\n",
            b"-4\r\nWiki\r\n",
            b"\r\nWiki\r\n",
            b"4 4\r\nWiki\r\n",
            b"4\r\nWikiXX0\r\n\r\n",
            b"4\r\nWiki\n0\r\n\r\n",
            b"4;\0\r\nWiki\r\n",
            b"100000004\r\nWiki\r\n",
        ] {
            assert_eq!(decode(bad, 3, 1000), Err(BadBody(400)), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn refuses_too_much_before_keeping_it() {
        assert_eq!(decode(b"ffffff\r\nx", 100, 1000), Err(BadBody(413)));
        assert_eq!(decode(b"3\r\nabc\r\n2\r\nab\r\n0\r\n\r\n", 100, 4), Err(BadBody(413)));
        assert_eq!(Body::new(Framing::Length(5), 4).unwrap_err(), BadBody(413));
        assert_eq!(decode(&[b'1'; 2000], 7, 4), Err(BadBody(431)));
        let trailers = [&b"0\r\n"[..], &b"a: b\r\n".repeat(40)].concat();
        assert_eq!(decode(&trailers, 7, 4), Err(BadBody(431)));
    }
}
