//! HTTP proxies, and which proxy the environment names.

use hybridrelay_relay::Config;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::servers::{Access, PASSWORD, USER, squid, squid_with_tls, tinyproxy};
use crate::world::{PROXY, RELAY_NAME, World, in_world, proxy_url};

/// Nothing listens there.
const DEAD: &str = "http://10.77.1.1:9";

fn with_password() -> String {
    format!("{USER}:{PASSWORD}@")
}

/// The client gets through by `https_proxy`.
async fn assert_carries(world: &World, user_info: &str) {
    let outcome = world.round_trip(&world.secure(), &[("https_proxy", &proxy_url("http", user_info))], &[]).await;
    assert_eq!(outcome["event"], "ok", "{outcome}");
}

/// The client does not get through, and learns why without the password being told to others.
async fn assert_wants_credentials(world: &World, user_info: &str) {
    let outcome = world.round_trip(&world.secure(), &[("https_proxy", &proxy_url("http", user_info))], &[]).await;
    assert_eq!((&outcome["kind"], &outcome["code"]), (&"ProxyAuthenticationRequired".into(), &18.into()), "{outcome}");
    assert!(message(&outcome).contains(&proxy_url("http", "")), "{outcome}");
    assert!(!outcome.to_string().contains("secret"), "{outcome}");
}

fn message(outcome: &Value) -> &str {
    outcome["message"].as_str().unwrap_or_default()
}

#[test]
fn nothing_gets_out_without_a_proxy() {
    in_world(Config::default(), |world| async move {
        let outcome = world.round_trip(&world.plain(), &[], &[]).await;
        assert_eq!((&outcome["step"], &outcome["kind"]), (&"listen".into(), &"Network".into()), "{outcome}");
    });
}

#[test]
fn tinyproxy_carries_listener_rendezvous_and_sender() {
    in_world(Config::default(), |world| async move {
        let _proxy = tinyproxy(&world, Access::Open).await;
        assert_carries(&world, "").await;
    });
}

#[test]
fn tinyproxy_carries_those_with_the_password_only() {
    in_world(Config::default(), |world| async move {
        let _proxy = tinyproxy(&world, Access::Password).await;
        assert_carries(&world, &with_password()).await;
        assert_wants_credentials(&world, &format!("{USER}:secret@")).await;
        assert_wants_credentials(&world, "").await;
    });
}

#[test]
fn squid_carries_listener_rendezvous_and_sender() {
    in_world(Config::default(), |world| async move {
        let _proxy = squid(&world, Access::Open).await;
        assert_carries(&world, "").await;
    });
}

#[test]
fn squid_carries_those_with_the_password_only() {
    in_world(Config::default(), |world| async move {
        let _proxy = squid(&world, Access::Password).await;
        assert_carries(&world, &with_password()).await;
        assert_wants_credentials(&world, &format!("{USER}:secret@")).await;
        assert_wants_credentials(&world, "").await;
    });
}

#[test]
fn squid_carries_through_tls_of_its_own() {
    in_world(Config::default(), |world| async move {
        let key = || KeyPair::generate().unwrap();
        let authority_key = key();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::from_params(&authority, &authority_key);
        let leaf_key = key();
        let leaf = CertificateParams::new([PROXY.to_string()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
        let _proxy = squid_with_tls(&world, Access::Password, &leaf.pem(), &leaf_key.serialize_pem()).await;

        let proxy = proxy_url("https", &with_password());
        let through_proxy = [("https_proxy", proxy.as_str())];
        let outcome = world.round_trip(&world.secure(), &through_proxy, &[]).await;
        assert_eq!((&outcome["step"], &outcome["kind"]), (&"listen".into(), &"Tls".into()), "{outcome}");
        assert!(message(&outcome).contains(&proxy_url("https", "")), "{outcome}");

        world.trust(&authority_pem);
        let outcome = world.round_trip(&world.secure(), &through_proxy, &[]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}

#[test]
fn a_refusal_of_the_proxy_names_proxy_and_status() {
    in_world(Config::default(), |world| async move {
        let _proxy = tinyproxy(&world, Access::Open).await;
        let target = world.secure().replace(RELAY_NAME, "nowhere.test");
        let outcome = world.round_trip(&target, &[("https_proxy", &proxy_url("http", ""))], &[]).await;
        assert_eq!(outcome["kind"], "Network", "{outcome}");
        let named = format!("the proxy {} does not connect to nowhere.test:443: 5", proxy_url("http", ""));
        assert!(message(&outcome).starts_with(&named), "{outcome}");
    });
}

#[test]
fn relays_without_tls_have_a_variable_of_their_own() {
    in_world(Config::default(), |world| async move {
        let _proxy = tinyproxy(&world, Access::Open).await;
        let outcome = world.round_trip(&world.plain(), &[("http_proxy", &proxy_url("http", ""))], &[]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}

#[test]
fn no_proxy_exempts_the_relay() {
    in_world(Config::default(), |world| async move {
        world.client.open();
        world.tell_client_the_name();
        let dead = ("HTTPS_PROXY", DEAD);
        let outcome = world.round_trip(&world.secure(), &[dead], &[]).await;
        assert_eq!(outcome["kind"], "Network", "{outcome}");
        let outcome = world.round_trip(&world.secure(), &[dead, ("NO_PROXY", "example.net,.test")], &[]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
        let exempt = [("ALL_PROXY", DEAD), ("NO_PROXY", "10.77.0.0/16")];
        let outcome = world.round_trip(&world.plain(), &exempt, &[]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}

#[test]
fn the_programs_own_choice_wins_over_the_environment() {
    in_world(Config::default(), |world| async move {
        let _proxy = tinyproxy(&world, Access::Open).await;
        let proxy = proxy_url("http", "");
        let outcome =
            world.round_trip(&world.secure(), &[("https_proxy", DEAD), ("no_proxy", "*")], &["--proxy", &proxy]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
        world.client.open();
        world.tell_client_the_name();
        let outcome = world.round_trip(&world.secure(), &[("https_proxy", DEAD)], &["--proxy", "none"]).await;
        assert_eq!(outcome["event"], "ok", "{outcome}");
    });
}
