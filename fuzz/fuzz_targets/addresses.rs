//! Addresses of relays as a program gives them, with a suffix and a query: what is made of them is a URI, and says what was meant.
//!
//! Address, suffix and query are the lines of the input.
#![no_main]

use http::Uri;
use hybridrelay::{EntityPath, RelayAddress};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (address, suffix, query) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    if let Ok(entity) = address.parse::<EntityPath>() {
        assert_eq!(entity.canonical().parse::<EntityPath>().unwrap(), entity);
    }
    let Ok(address) = address.parse::<RelayAddress>() else { return };
    assert_eq!(address.to_string().parse::<RelayAddress>().unwrap(), address);

    // A host beyond ASCII is refused where it is resolved.
    if address.entity().is_some() && address.host().is_ascii() {
        let listen: Uri = address.listen_uri("id/1").unwrap().parse().unwrap();
        assert_eq!(listen.host().map(|host| host.trim_matches(['[', ']'])), Some(address.host()));
        assert_eq!(listen.port_u16().unwrap_or(address.port()), address.port());
        if let Ok(connect) = address.connect_uri(suffix.unwrap_or_default(), query.unwrap_or_default(), "id") {
            let connect: Uri = connect.parse().unwrap();
            assert!(connect.query().is_some_and(|query| query.ends_with("sb-hc-action=connect&sb-hc-id=id")));
        }
    }
});
