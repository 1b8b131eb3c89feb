//! rtpengine's `ng` control protocol: a cookie, a space, and a bencoded dictionary, in one datagram each way.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A bencoded value; of numbers there is no need here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    List(Vec<Value>),
    Dictionary(BTreeMap<String, Value>),
}

/// Lists and dictionaries within each other: more is nonsense.
const DEPTH: usize = 16;

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    pub(super) fn list(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| Value::text(text)).collect())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let string = |text: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{}:{text}", text.len()).as_bytes());
        };
        match self {
            Value::Text(text) => string(text, out),
            Value::Number(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Value::List(values) => {
                out.push(b'l');
                for value in values {
                    value.write(out);
                }
                out.push(b'e');
            }
            Value::Dictionary(values) => {
                out.push(b'd');
                for (key, value) in values {
                    string(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    fn parse(rest: &mut &[u8], depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let first = *rest.first()?;
        match first {
            b'0'..=b'9' => {
                let length: usize = until(rest, b':')?.parse().ok()?;
                let text = rest.get(..length)?;
                *rest = &rest[length..];
                Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
            b'i' => {
                *rest = &rest[1..];
                Some(Value::Number(until(rest, b'e')?.parse().ok()?))
            }
            b'l' | b'd' => {
                *rest = &rest[1..];
                let mut values = Vec::new();
                while *rest.first()? != b'e' {
                    values.push(Value::parse(rest, depth + 1)?);
                }
                *rest = &rest[1..];
                if first == b'l' {
                    return Some(Value::List(values));
                }
                let pairs = values.chunks_exact(2).map(|pair| match pair {
                    [Value::Text(key), value] => Some((key.clone(), value.clone())),
                    _ => None,
                });
                Some(Value::Dictionary(pairs.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }
}

fn until<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a str> {
    let at = rest.iter().position(|byte| *byte == end)?;
    let text = std::str::from_utf8(&rest[..at]).ok()?;
    *rest = &rest[at + 1..];
    Some(text)
}

/// Who asks an rtpengine.
pub(super) struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    asked: u64,
}

impl Client {
    pub(super) fn new(server: SocketAddr) -> io::Result<Client> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Client { socket, server, asked: 0 })
    }

    /// Asks, again where no answer comes within a second (rtpengine knows a cookie that it has answered), and gives
    /// the answer where it is good news.
    pub(super) fn ask(
        &mut self,
        command: &str,
        entries: &[(&str, Value)],
    ) -> io::Result<BTreeMap<String, Value>> {
        self.asked += 1;
        let mut asked: BTreeMap<String, Value> =
            entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        asked.insert("command".into(), Value::text(command));
        let cookie = format!("{}_{} ", std::process::id(), self.asked);
        let mut datagram = cookie.clone().into_bytes();
        Value::Dictionary(asked).write(&mut datagram);
        let mut buffer = vec![0; 65_536];
        for _ in 0..5 {
            self.socket.send_to(&datagram, self.server)?;
            // Answers to earlier questions are passed over; an ICMP error says that it does not listen yet.
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let Some(mut body) = buffer[..length].strip_prefix(cookie.as_bytes()) else { continue };
                let Some(Value::Dictionary(told)) = Value::parse(&mut body, 0) else { break };
                return match told.get("result") {
                    Some(Value::Text(result)) if result == "ok" || result == "pong" => Ok(told),
                    _ => Err(io::Error::other(format!("rtpengine: {command}: {told:?}"))),
                };
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("rtpengine: no answer to {command}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let inner = Value::Dictionary(BTreeMap::from([("a b".into(), Value::Number(-7))]));
        let value = Value::Dictionary(BTreeMap::from([
            ("command".into(), Value::text("offer")),
            ("flags".into(), Value::list(&["trust address", ""])),
            ("more".into(), Value::List(vec![inner, Value::Number(0)])),
        ]));
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        let text = "d7:command5:offer5:flagsl13:trust address0:e4:moreld3:a bi-7eei0eee";
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        let mut rest = bytes.as_slice();
        assert_eq!(Value::parse(&mut rest, 0), Some(value));
        assert!(rest.is_empty());
    }

    #[test]
    fn nonsense_is_no_value() {
        for text in ["", "5:ab", "i5", "l", "d1:a", "di1e1:ae", "x", "99999999999999999999:"] {
            assert_eq!(Value::parse(&mut text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(Value::parse(&mut "l".repeat(100_000).as_bytes(), 0), None);
    }

    #[test]
    fn an_answer_is_told_by_its_cookie_and_an_error_by_its_result() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new(server.local_addr().unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            for (n, answer) in ["d6:result2:ok3:sdp3:v=0e", "d6:result5:errore"].iter().enumerate() {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let (cookie, body) = asked.split_once(' ').unwrap();
                assert_eq!(body, if n == 0 { "d7:command5:offere" } else { "d7:command6:deletee" });
                server.send_to(b"1_0 d6:result5:errore", from).unwrap();
                server.send_to(format!("{cookie} {answer}").as_bytes(), from).unwrap();
            }
        });
        assert_eq!(client.ask("offer", &[]).unwrap()["sdp"], Value::text("v=0"));
        assert!(client.ask("delete", &[]).is_err());
        thread.join().unwrap();
    }
}
