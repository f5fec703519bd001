//! Control messages from either end: what was read and written once stays as it is from then on, and every failure has its close code.
#![no_main]

use hybridrelay::protocol::control::{ControlError, FromListener, FromRelay};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    match FromRelay::parse(message) {
        Ok(FromRelay::Accept(accept)) => {
            let Ok(FromRelay::Accept(once)) = FromRelay::parse(accept.to_json().as_bytes()) else { panic!() };
            assert_eq!((&once.address, &once.id), (&accept.address, &accept.id));
            assert_eq!(FromRelay::parse(once.to_json().as_bytes()), Ok(FromRelay::Accept(once)));
        }
        Ok(FromRelay::Request(request)) => {
            let Ok(FromRelay::Request(once)) = FromRelay::parse(request.to_json().as_bytes()) else { panic!() };
            assert_eq!(once.address, request.address);
            assert_eq!(FromRelay::parse(once.to_json().as_bytes()), Ok(FromRelay::Request(once)));
        }
        Ok(_) => {}
        Err(error) => check(&error, message),
    }
    match FromListener::parse(message) {
        Ok(FromListener::Response(response)) => {
            let Ok(FromListener::Response(once)) = FromListener::parse(response.to_json().as_bytes()) else { panic!() };
            assert_eq!((&once.request_id, once.status_code), (&response.request_id, response.status_code));
            assert_eq!(FromListener::parse(once.to_json().as_bytes()), Ok(FromListener::Response(once)));
        }
        Ok(_) => {}
        Err(error) => check(&error, message),
    }
});

fn check(error: &ControlError, message: &[u8]) {
    let expected = if std::str::from_utf8(message).is_err() { 1007 } else { 1002 };
    assert_eq!(error.close_code(), expected);
}
