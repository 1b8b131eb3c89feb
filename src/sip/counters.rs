//! What the stack counts.

use crate::base::counters;

counters! {
    /// What one shard's stack counted.
    pub struct Counters {
        /// Messages that could not be read, or were dropped for what is wrong with them.
        malformed,
        /// Messages whose header section was Latin-1, and was read so.
        latin1,
        /// Requests from addresses that belong to no trunk.
        strangers,
        /// Those of them that got no answer since their source asks too often.
        unanswered,
        /// Sources banned, for what they sent and was refused or could not be read.
        bans,
        /// Messages from banned sources, dropped unread.
        banned,
        /// Responses to no request of ours.
        stray_responses,
        /// Requests within dialogs that we don't know.
        stray_requests,
        /// Requests that came over two ways.
        merged,
        /// Requests refused by their headers, method or body.
        refused,
        /// Messages of our own that would have carried bytes that must not reach the wire.
        refused_writes,
        /// Requests and calls refused since there were too many transactions.
        full_transactions,
        /// Calls refused since there were too many legs.
        full_dialogs,
        /// Early dialogs beyond the bound of their leg.
        full_forks,
        /// Registrations refused since there were too many.
        full_registrations,
        /// Connections of ours that were not made since there were too many.
        full_connections,
        /// Connections of ours that could not be made.
        unconnected,
        /// Requests that were too long for a datagram, and were sent by a connection.
        too_large,
        /// Those of them that went as a datagram after all, since there was no connection.
        fragmented,
        /// Messages to connections that are gone, for which there was no other way.
        undeliverable,
        /// Texts and subscriptions refused since there were too many.
        full_errands,
        /// Notifications of what users asked to be told of.
        notified,
        /// Our requests that nobody answered, or that could not be sent.
        timeouts,
        /// Those of them that came back by ICMP: nobody was there.
        refused_by_icmp,
        /// Challenges to our requests.
        challenges,
        /// Answered calls whose ACK never came.
        lost_acks,
        /// INFO of ours that could not be sent.
        informs_dropped,
        /// INFO of ours that was refused, or that nobody answered.
        informs_refused,
        /// Attached headers that are not allowed, or too much.
        attach_refused,
        /// Headers that a rule passes or adds, and that are too much or not fit for the wire.
        headers_refused,
        /// Headers that a rule passes, left out since they name a place of the side that they came from.
        headers_hidden,
        /// Requests refused for a method that their trunk may not use.
        barred_methods,
        /// Requests refused for a body longer than their trunk may send.
        long_bodies,
        /// Changes of both sides at once.
        glares,
        /// Sessions that nobody refreshed.
        expired_sessions,
        /// Refreshes of sessions that we sent.
        refreshes,
        /// Longer sessions that the far side asked for (422).
        raised_sessions,
        /// Calls refused since a reliable provisional response was never acknowledged.
        lost_pracks,
        /// PRACKs of ours that were refused.
        refused_pracks,
        /// Reliable provisional responses that came again, or out of order.
        unordered_progress,
        /// Provisional responses of ours that had to wait for too many others.
        progress_dropped,
        /// Calls and registrations that went on to another server.
        failovers,
        /// Requests within dialogs that went on as before since too many names are being looked up.
        full_names,
        /// Names of dialogs that nobody could find.
        lost_names,
        /// Answers of forks that came too late, and were acknowledged and ended.
        late_answers,
        /// REGISTERs of phones that were passed on, or sent for them.
        phone_registers,
        /// Those that were answered here, the server being asked no more often than it wants.
        phone_refreshes,
        /// Refused, as there were too many phones.
        full_phones,
        /// Not answered, as their source sends too many.
        phones_throttled,
        /// Requests of phones whose password we ask for ourselves that had none, or a wrong one.
        phones_unauthorised,
        /// Phones that could not be reached any more.
        phones_lost,
        /// Those that came back before the server forgot them.
        phones_found,
        /// Challenges that were passed on to phones.
        challenges_passed,
    }
}
