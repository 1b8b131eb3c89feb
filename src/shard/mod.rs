//! The loop of one core: poll, demultiplex, switchboard, mailboxes.
