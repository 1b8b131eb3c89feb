//! HTTP requests about sessions: held on the shard where they landed until the session's home has answered.

use super::core::{Core, Output};
use super::mail::Mail;
use crate::base::{FlowId, Key, Machine, Now, ShardId};
use crate::http::Response;
use crate::signal::{self, Ask, Asked, Exchange};

/// What is said where there is no room for a request on its way to its session.
const BUSY: &str =
    r#"{"type":"error","id":null,"error":"overloaded","code":503,"message":"The gateway takes no more."}"#;

/// A request that waits for its response.
#[derive(Debug)]
pub(super) struct Asking {
    /// The response but for its status and body.
    template: Response,
    /// Where the session lives, if not here.
    home: Option<ShardId>,
    /// It waits for events, and can be given up without loss.
    poll: bool,
}

impl Core {
    pub(super) fn ask(&mut self, now: Now, flow: FlowId, what: Asked, template: Response) {
        let Some(web) = self.connections.web(flow) else { return };
        web.number = web.number.wrapping_add(1);
        let poll = matches!(what, Asked::Events { .. });
        web.asking = Some(Box::new(Asking { template, home: None, poll }));
        let exchange = Exchange { flow, number: web.number };
        let ask = Ask { exchange, source: Some(web.remote), what };
        self.hub.handle_input(now, signal::Input::Asked(ask));
    }

    /// The session of a request of ours lives on another shard.
    pub(super) fn forward(&mut self, to: ShardId, ask: Ask) {
        if let Some(asking) = self.asking(ask.exchange) {
            asking.home = Some(to);
            self.counters.steered_texts += 1;
            self.outputs.push_back(Output::Mail { to, mail: Mail::Asked(Box::new(ask)) });
        }
    }

    /// Answers a request of ours. One that was given up meanwhile needs no answer.
    pub(super) fn respond(&mut self, now: Now, exchange: Exchange, status: u16, body: String) {
        let Some(web) = self.connections.web(exchange.flow).filter(|web| web.number == exchange.number)
        else {
            return;
        };
        let Some(asking) = web.asking.take() else { return };
        let response = asking.template.with_status(status).text(body);
        self.touch(now, exchange.flow, |connection| {
            let _ = connection.respond(now, response);
        });
    }

    /// Answers a request that found no room on its way.
    pub(super) fn respond_busy(&mut self, now: Now, exchange: Exchange) {
        self.respond(now, exchange, 503, BUSY.to_owned());
    }

    /// The far side of a connection sends no more: a browser that gave up a poll. Its events are kept.
    pub(super) fn end_poll(&mut self, now: Now, flow: FlowId) {
        let polls = |asking: &Asking| asking.poll;
        if self.connections.web(flow).is_some_and(|web| web.asking.as_deref().is_some_and(polls)) {
            self.close_connection(now, flow);
        }
    }

    /// A connection is gone, or going: whoever would answer its request needn't.
    pub(super) fn abandon(&mut self, now: Now, flow: FlowId) {
        let Some(web) = self.connections.web(flow) else { return };
        let exchange = Exchange { flow, number: web.number };
        let Some(asking) = web.asking.take() else { return };
        match asking.home {
            Some(to) => self.outputs.push_back(Output::Mail { to, mail: Mail::Abandoned { exchange } }),
            None => self.hub.handle_input(now, signal::Input::Abandoned(exchange)),
        }
    }

    fn asking(&mut self, exchange: Exchange) -> Option<&mut Asking> {
        debug_assert_eq!(exchange.flow.shard(), self.shard, "a request is held where it landed");
        let web = self.connections.web(exchange.flow).filter(|web| web.number == exchange.number)?;
        web.asking.as_deref_mut()
    }
}
