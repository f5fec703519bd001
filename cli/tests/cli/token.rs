//! `token create` and `token verify`.

use std::time::{Duration, SystemTime};

use hybridrelay::token::SasToken;

use crate::harness::{Output, Relay, command, run};

const CONNECTION_STRING: &str =
    "Endpoint=sb://contoso.example.net:9443/;SharedAccessKeyName=both;SharedAccessKey=s3cret=;EntityPath=hyco";

async fn token(arguments: &[&str], input: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path());
    run(command.arg("token").args(arguments).env("HYBRIDRELAY_CONNECTION_STRING", CONNECTION_STRING), input).await
}

async fn create(arguments: &[&str]) -> String {
    let output = token(&[&["create"], arguments].concat(), "").await;
    String::from_utf8(output.ok()).unwrap()
}

#[tokio::test]
async fn a_token_is_signed_for_what_is_named() {
    for (arguments, audience) in [
        (&[][..], "http://contoso.example.net/hyco/"),
        (&["other"], "http://contoso.example.net/other/"),
        (&["a/b"], "http://contoso.example.net/a/b/"),
        (&["https://h/x?y"], "https://h/x?y"),
        (&["--uri", "sb://h"], "sb://h"),
    ] {
        let text = create(arguments).await;
        let parsed = SasToken::parse(&text).unwrap();
        let expected = SasToken::create(audience, "both", "s3cret=", parsed.expires_at());
        assert_eq!(text, expected.to_text() + "\n", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_asked() {
    for (arguments, seconds) in [(&[][..], 3600), (&["--validity", "2d"], 172_800)] {
        let before = SystemTime::now();
        let token = SasToken::parse(&create(arguments).await).unwrap();
        let life = token.expires_at().duration_since(before).unwrap();
        // Whole seconds, rounded down.
        assert!((Duration::from_secs(seconds - 1)..Duration::from_secs(seconds + 60)).contains(&life), "{life:?}");
    }
}

#[tokio::test]
async fn a_key_may_be_given_instead_of_a_connection_string() {
    let home = tempfile::tempdir().unwrap();
    let key = ["--key-name", "n", "--key", "k"];
    let output = run(command(home.path()).args(["token", "create", "http://h/x/"]).args(key), "").await;
    let text = String::from_utf8(output.ok()).unwrap();
    assert!(SasToken::parse(&text).unwrap().signature_matches("k"));
    let verified = run(command(home.path()).args(["token", "verify", "http://h/x/"]).args(key), &text).await;
    assert!(verified.text().starts_with("valid for http://h/x/, signed by rule 'n', until 20"), "{verified:?}");
    assert_eq!(verified.ok().last(), Some(&b'\n'));

    for (arguments, says) in [
        (&["create", "http://h/"][..], "no key is given"),
        (&["create", "x", "--key-name", "n", "--key", "k"], "does not name a relay"),
        (&["create", "--key-name", "n", "--key", "k"], "nothing tells what the token is for"),
        (&["create", "http://h/", "--key", "k"], "--key-name"),
    ] {
        let output = run(command(home.path()).arg("token").args(arguments), "").await;
        assert_eq!(output.code, Some(2), "{arguments:?}");
        assert!(output.stderr.contains(says), "{arguments:?}: {}", output.stderr);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_and_code_3() {
    let good = create(&[]).await;
    token(&["verify"], &good).await.ok();
    let past = SystemTime::now() - Duration::from_secs(600);
    let expired = SasToken::create("http://contoso.example.net/hyco/", "both", "s3cret=", past).to_text();
    let foreign = SasToken::create("http://contoso.example.net/hyco/", "else", "other", past).to_text();
    let elsewhere = create(&["http://fabrikam.example.net/hyco/"]).await;
    let other = create(&["other"]).await;
    for (text, says) in [
        ("", &["MalformedToken: the token is no SharedAccessSignature"][..]),
        ("SharedAccessSignature sr=a&sig=AA==&se=1", &["MalformedToken: the key name (skn) is missing"]),
        (&expired, &["it expired at 20", "10 min ago"]),
        (&foreign, &["it names the rule 'else', not 'both'; its signature was not made with this key; it expired at"]),
        (&other, &["it is for another audience than http://contoso.example.net/hyco/"]),
        (&elsewhere, &["it is for another audience than http://contoso.example.net/hyco/"]),
    ] {
        let output = token(&["verify"], text).await;
        assert_eq!(output.code, Some(3), "{text}");
        assert!(output.stderr.starts_with("error: the token is not valid: "), "{}", output.stderr);
        assert!(says.iter().all(|says| output.stderr.contains(says)), "{text}: {}", output.stderr);
        assert!(output.stdout.is_empty() && !output.stderr.contains("sig="), "{output:?}");
    }
    let output = token(&["verify", "--json"], "").await;
    assert_eq!((&output.last_event()["kind"], &output.last_event()["exitCode"]), (&"InvalidToken".into(), &3.into()));
}

#[tokio::test]
async fn a_namespaces_token_is_good_for_each_of_its_hybrid_connections() {
    let wide = create(&["http://contoso.example.net/"]).await;
    for audience in [&["verify"][..], &["verify", "other"], &["verify", "wss://contoso.example.net:9443/$hc/x?y"]] {
        token(audience, &wide).await.ok();
    }
}

#[tokio::test]
async fn the_relay_takes_a_created_token() {
    let relay = Relay::start().await;
    let _listener = relay.listen(["hello", "--echo"]).await;
    let made = run(relay.command().args(["token", "create", "hello"]), "").await.ok();
    let (endpoint, _) = relay.connection_string().split_once(';').unwrap();
    let with_token = format!("{endpoint};SharedAccessSignature={}", String::from_utf8(made).unwrap().trim());
    let mut connect = relay.command();
    let output = run(connect.env("HYBRIDRELAY_CONNECTION_STRING", &with_token).args(["connect", "hello"]), "x").await;
    assert_eq!(output.ok(), b"x");
    let mut keyless = relay.command();
    let output =
        run(keyless.env("HYBRIDRELAY_CONNECTION_STRING", &with_token).args(["token", "create", "x"]), "").await;
    assert_eq!((output.code, output.stderr.as_str()), (Some(2), "error: the connection string holds no key\n"));
}
