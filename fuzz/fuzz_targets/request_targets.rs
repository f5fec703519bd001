//! Request targets at the relay, and what a listener appends to one to refuse a sender. What is the sender's passes byte for byte,
//! what is the relay's never does.
#![no_main]

use hybridrelay::protocol::TrackingId;
use hybridrelay::protocol::uri::{
    Action, Rejection, Target, accept_address, longest_prefix, reject_address, strip_relay_parameters,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(target) = Target::parse(text) {
        if let Some(query) = &target.user_query {
            assert_eq!(strip_relay_parameters(query).as_ref(), Some(query));
        }
        let id = target.id.clone().unwrap_or_default();
        let address = accept_address("wss://host", &target.path, target.user_query.as_deref(), &id, "ticket");
        let again = Target::parse(address.strip_prefix("wss://host").unwrap()).unwrap();
        assert!(again.is_hc);
        assert_eq!((&again.path, &again.user_query), (&target.path, &target.user_query));
        assert_eq!((again.action(), again.id, again.ticket.as_deref()), (Action::Accept, Some(id), Some("ticket")));

        let mut candidates = 0;
        let found = longest_prefix(&target.path, |_| {
            candidates += 1;
            (candidates == 2).then_some(())
        });
        if let Some(((), rest)) = found {
            assert!(target.path.ends_with(rest) && (rest.is_empty() || rest.starts_with('/')));
        }
    }

    if let Some(rejection) = Rejection::parse(text) {
        assert!((200..=999).contains(&rejection.status));
        assert!(rejection.reason.len() <= 512 && rejection.reason.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
    let address = reject_address("", 451, text);
    assert!(Rejection::parse(&address).is_some_and(|rejection| rejection.is_valid && rejection.status == 451));

    if let Some(id) = TrackingId::adopt(text) {
        assert!(text.starts_with(id.activity()));
    }
});
