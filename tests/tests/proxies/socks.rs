//! SOCKS5 proxies.

use hybridrelay_relay::Config;

use crate::servers::{Access, PASSWORD, USER, dante};
use crate::world::{World, in_world, proxy_url};

async fn round_trip(world: &World, scheme: &str, user_info: &str) -> serde_json::Value {
    world.round_trip(&world.secure(), &[("ALL_PROXY", &proxy_url(scheme, user_info))], &[]).await
}

#[test]
fn dante_carries_listener_rendezvous_and_sender() {
    in_world(Config::default(), |world| async move {
        let _proxy = dante(&world, Access::Open).await;
        let outcome = round_trip(&world, "socks5h", "").await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}

#[test]
fn dante_carries_those_with_the_password_only() {
    in_world(Config::default(), |world| async move {
        let _proxy = dante(&world, Access::Password).await;
        let outcome = round_trip(&world, "socks5h", &format!("{USER}:{PASSWORD}@")).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
        for user_info in [&format!("{USER}:secret@"), ""] {
            let outcome = round_trip(&world, "socks5h", user_info).await;
            assert_eq!(outcome["kind"], "ProxyAuthenticationRequired", "{outcome}");
            let message = outcome["message"].as_str().unwrap_or_default();
            assert!(message.contains(&proxy_url("socks5h", "")), "{outcome}");
            assert!(!outcome.to_string().contains("secret"), "{outcome}");
        }
    });
}

#[test]
fn socks5_needs_the_relays_name_at_the_client() {
    in_world(Config::default(), |world| async move {
        let _proxy = dante(&world, Access::Open).await;
        let outcome = round_trip(&world, "socks5", "").await;
        assert_eq!(outcome["kind"], "Network", "{outcome}");
        assert!(outcome["message"].as_str().unwrap_or_default().contains("cannot resolve"), "{outcome}");
        world.tell_client_the_name();
        let outcome = round_trip(&world, "socks5", "").await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}
