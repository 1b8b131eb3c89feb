//! Questions written and answers read, by hickory-proto.

use super::Name;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{self, DNSClass, RData, Record, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The most that an answer may hold in all its sections.
const MOST_RECORDS: usize = 512;
/// What we take by UDP without fragments (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// The types of records that are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Servers of a service (RFC 2782).
    Srv,
    /// Services of a domain (RFC 3403).
    Naptr,
}

/// A record's data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A server.
    Srv(Srv),
    /// A service.
    Naptr(Naptr),
    /// Another name for it.
    Alias(Name),
}

/// RFC 2782.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// The least is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// The server's port.
    pub port: u16,
    /// The server; `None` where the service is decidedly not available (target `.`).
    pub target: Option<Name>,
}

/// RFC 3403, with all that RFC 3263 needs of it: only terminal `S` and `A` rules without expression are read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naptr {
    /// The least is tried first.
    pub order: u16,
    /// Among those of one order, too.
    pub preference: u16,
    /// `S`: the replacement has SRV records; else (`A`) it has addresses.
    pub srv: bool,
    /// What it offers, in upper case: `SIP+D2U`.
    pub service: String,
    /// Where to go on.
    pub replacement: Name,
}

/// How a server answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// There may be records.
    Fine,
    /// The name does not exist.
    NoName,
    /// It does not understand the question: maybe its extensions.
    Format,
    /// It can't, or doesn't want to.
    Failed,
}

/// An answer, as far as it is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The question's number.
    pub id: u16,
    /// The question.
    pub question: (Name, Kind),
    /// It did not fit.
    pub truncated: bool,
    /// How it went.
    pub code: Code,
    /// Records of the answer section with their owners and seconds to live; of others than the asked type only aliases.
    pub records: Vec<(Name, u32, Data)>,
    /// Seconds for which the absence holds (RFC 2308 section 5), where a zone said so.
    pub negative: Option<u32>,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// They are no message.
    Malformed,
    /// It is none to a single question of ours.
    Unasked,
    /// It holds too many records.
    TooMany,
}

impl Kind {
    fn code(self) -> RecordType {
        match self {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Srv => RecordType::SRV,
            Kind::Naptr => RecordType::NAPTR,
        }
    }

    fn of(code: RecordType) -> Option<Kind> {
        [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Naptr].into_iter().find(|kind| kind.code() == code)
    }
}

/// Writes a question; with `extended`, one that says how long an answer may be (RFC 6891).
pub fn write(id: u16, name: &Name, kind: Kind, extended: bool) -> Option<Vec<u8>> {
    let mut asked = rr::Name::from_str(name.as_str()).ok()?;
    asked.set_fqdn(true);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(asked, kind.code()));
    if extended {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

/// Reads an answer.
pub fn read(bytes: &[u8]) -> Result<Reply, Fault> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let counts = [4, 6, 8, 10].map(count);
    let [Some(questions), Some(answers), Some(authorities), Some(additionals)] = counts else {
        return Err(Fault::Malformed);
    };
    // Counted before anything is made of it.
    if answers + authorities + additionals > MOST_RECORDS {
        return Err(Fault::TooMany);
    }
    if questions != 1 {
        return Err(Fault::Unasked);
    }
    let message = Message::from_vec(bytes).map_err(|_| Fault::Malformed)?;
    let head = &message.metadata;
    let asked = message.queries.first().filter(|asked| asked.query_class == DNSClass::IN);
    let question = asked.and_then(|asked| Some((name(&asked.name)?, Kind::of(asked.query_type)?)));
    let (Some(question), MessageType::Response, OpCode::Query) = (question, head.message_type, head.op_code)
    else {
        return Err(Fault::Unasked);
    };
    let code = match head.response_code {
        ResponseCode::NoError => Code::Fine,
        ResponseCode::NXDomain => Code::NoName,
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS => Code::Format,
        _ => Code::Failed,
    };
    let internet = |record: &&Record| record.dns_class == DNSClass::IN;
    let records = message.answers.iter().filter(internet).filter_map(|record| {
        let data = data(&record.data).filter(|data| fits(data, question.1))?;
        Some((name(&record.name)?, record.ttl, data))
    });
    let negative = message.authorities.iter().filter(internet).find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    Ok(Reply {
        id: head.id,
        truncated: head.truncation,
        code,
        records: records.collect(),
        negative,
        question,
    })
}

fn fits(data: &Data, kind: Kind) -> bool {
    match data {
        Data::A(_) => kind == Kind::A,
        Data::Aaaa(_) => kind == Kind::Aaaa,
        Data::Srv(_) => kind == Kind::Srv,
        Data::Naptr(_) => kind == Kind::Naptr,
        Data::Alias(_) => true,
    }
}

/// A name that is one of ours too: whatever else a label may hold is nobody's server.
fn name(name: &rr::Name) -> Option<Name> {
    let mut text = String::new();
    for label in name {
        text.push_str(std::str::from_utf8(label).ok()?);
        text.push('.');
    }
    Name::parse(&text)
}

fn data(data: &RData) -> Option<Data> {
    Some(match data {
        RData::A(address) => Data::A(address.0),
        RData::AAAA(address) => Data::Aaaa(address.0),
        RData::CNAME(alias) => Data::Alias(name(&alias.0)?),
        RData::SRV(srv) => {
            let target = if srv.target.is_root() { None } else { Some(name(&srv.target)?) };
            Data::Srv(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
        }
        RData::NAPTR(naptr) => {
            let flag = std::str::from_utf8(&naptr.flags).ok()?;
            let srv = flag.eq_ignore_ascii_case("s");
            if !(srv || flag.eq_ignore_ascii_case("a")) || !naptr.regexp.is_empty() {
                return None;
            }
            Data::Naptr(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                srv,
                service: std::str::from_utf8(&naptr.services).ok()?.to_ascii_uppercase(),
                replacement: name(&naptr.replacement)?,
            })
        }
        _ => return None,
    })
}
