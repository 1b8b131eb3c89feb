//! `bridgehead route`: which route a call would take, and why not those before it.

use super::plan::call_of;
use super::{Error, File};
use crate::base::Side;
use crate::call::{Asked, Found, RouteTo};
use crate::leg::{Data, Reason, Source, TrunkId};
use std::fmt::Write as _;
use std::time::Duration;

/// A call that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// A trunk's name, or a user's: `user:alice`, or `phone:alice` for one with a SIP phone.
    pub from: &'a str,
    /// The called number or name.
    pub to: &'a str,
    /// The calling one; the user's name where empty.
    pub caller: &'a str,
    /// Its headers.
    pub headers: &'a Data,
    /// When, since the Unix epoch.
    pub unix: Duration,
}

/// Says what would become of a call.
///
/// # Errors
///
/// Nobody is named so.
pub fn explain(file: &File, question: Question<'_>) -> Result<String, Error> {
    let config = call_of(file, 1);
    let from = question.from;
    let (source, side, user) = if let Some(user) = from.strip_prefix("user:") {
        (Source::Account(user.into()), Side::Web, user)
    } else if let Some(user) = from.strip_prefix("phone:") {
        (Source::Account(user.into()), Side::Sip, user)
    } else {
        let Some(n) = file.trunk.iter().position(|trunk| trunk.name.get_ref() == from) else {
            let known: Vec<_> = file.trunk.iter().map(|trunk| trunk.name.get_ref().as_str()).collect();
            let what = format!("no trunk is named {from:?}; known: {}, or write user:NAME", known.join(", "));
            return Err(Error::whole("--from", what));
        };
        (Source::Trunk(TrunkId(n as u16)), Side::Sip, "")
    };
    let mut called = question.to.to_owned();
    let mut calling = if question.caller.is_empty() { user } else { question.caller }.to_owned();
    let mut text = String::new();
    if let Source::Trunk(trunk) = source
        && let Some(plan) = config.trunk(trunk).and_then(|trunk| trunk.dialled.as_ref())
    {
        (called, calling) = (plan.normalise(&called), plan.normalise(&calling));
    }
    // A string takes everything, here and below.
    let _ = writeln!(text, "call    from {from} ({calling:?}) to {called:?}");
    let asked = Asked {
        source: &source,
        side,
        home: None,
        called: &called,
        calling: &calling,
        headers: question.headers,
        unix: question.unix,
    };
    for (n, (route, why)) in config.mismatches(&asked).iter().enumerate() {
        let _ = writeln!(text, "route   {}{}: {why}", n + 1, named(&route.name));
    }
    let Some(Found { route, to }) = config.route(&asked) else {
        text.push_str("ends    with 404: no route is for it\n");
        return Ok(text);
    };
    match route.and_then(|n| Some((n, config.routes.get(n)?))) {
        Some((n, route)) => {
            let _ = writeln!(text, "route   {}{}: this one", n + 1, named(&route.name));
            let rewritten = |rewrite: &Option<crate::call::Rewrite>, number: &str| {
                rewrite.as_ref().map_or_else(|| number.to_owned(), |rewrite| rewrite.apply(number))
            };
            called = rewritten(&route.rewrite_called, &called);
            calling = rewritten(&route.rewrite_calling, &calling);
        }
        None => text.push_str("route   none: the user's own trunk\n"),
    }
    let name = |trunk: TrunkId| config.trunk(trunk).map_or("?", |trunk| trunk.name.as_str()).to_owned();
    let _ = match to {
        RouteTo::Trunk(trunk) => writeln!(text, "goes    to {} as {called:?} from {calling:?}", name(trunk)),
        RouteTo::Group(mut members) => {
            members.sort_by_key(|member| member.priority);
            let one = |member: &crate::call::Member| {
                format!("{} (priority {}, weight {})", name(member.trunk), member.priority, member.weight)
            };
            let members: Vec<String> = members.iter().map(one).collect();
            writeln!(text, "goes    to {} as {called:?} from {calling:?}", members.join(", else "))
        }
        RouteTo::Reject(Reason { code, cause, .. }) => {
            writeln!(text, "ends    with {code}: {}", cause.name())
        }
    };
    Ok(text)
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    const TEXT: &str = "[[trunk]]\nname = \"a\"\naddress = \"127.0.0.1:5070\"\ndialled_as = { country = \"49\", national = \"0\" }\n\
        [[trunk]]\nname = \"b\"\naddress = \"127.0.0.1:5071\"\n\
        [[route]]\nname = \"gold\"\nfrom = \"a\"\nheader = \"X-Tier\"\ntrunk = \"b\"\n\
        [[route]]\nfrom = \"a\"\nnumber = \"+49\"\ntrunks = [{ trunk = \"b\" }, { trunk = \"a\", priority = 1 }]\nrewrite_number = { strip = 1 }\n\
        [[route]]\nfrom = \"phones\"\nreject = 403\n";

    fn ask(from: &str, to: &str) -> String {
        let file = read("b.toml", TEXT).unwrap();
        let headers = Data::new();
        let question = Question { from, to, caller: "", headers: &headers, unix: Duration::ZERO };
        explain(&file, question).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn it_says_which_route_and_why_not_another() {
        let said = ask("a", "0301234567");
        for line in [
            "call    from a (\"\") to \"+49301234567\"",
            "route   1 (gold): the header is missing or says something else",
            "route   2: this one",
            "goes    to b (priority 0, weight 1), else a (priority 1, weight 1) as \"49301234567\" from \"\"",
        ] {
            assert!(said.contains(line), "{line} in\n{said}");
        }
        assert!(ask("phone:alice", "1").contains("ends    with 403: forbidden"));
        assert!(ask("user:alice", "1").contains("ends    with 404"));
        assert!(ask("x", "1").contains("known: a, b, or write user:NAME"));
    }
}
