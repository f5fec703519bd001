//! The data that all languages share, `tests/vectors/`, put to a program.

use anyhow::{Context, Result, bail};
use hybridrelay::token::SasToken;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::testee::Testee;
use super::transcript::Transcript;

/// Puts the cases of a file to a program.
///
/// # Errors
///
/// If it makes something else of one.
pub(super) async fn put(file: &str, testee: &Testee, who: &str, transcript: &Transcript) -> Result<()> {
    match file {
        "sas" => signatures(testee, who, transcript).await,
        other => bail!("nobody knows what to do with the vectors of {other}"),
    }
}

/// A program makes tokens for the audiences of the vectors. What it encodes as the vector does must have the vector's signature.
async fn signatures(testee: &Testee, who: &str, transcript: &Transcript) -> Result<()> {
    let vectors: Value = serde_json::from_str(include_str!("../../vectors/sas.json"))?;
    let (key, end, name) = (&vectors["key"], &vectors["se"], &vectors["skn"]);
    for case in vectors["signatures"].as_array().context("an array")? {
        let encoded = case["sr"].as_str().context("a text")?;
        let audience = percent_decode_str(encoded).decode_utf8()?;
        let has_path = audience.splitn(4, '/').nth(3).is_some();
        if !has_path && testee.lacks("vector-without-path").is_some() {
            continue;
        }
        let vector = json!({"audience": audience, "keyName": name, "key": key, "expiresAt": end});
        let command = json!({"op": "vector", "file": "sas", "vector": vector});
        let answer = testee.ask(who, command, transcript).await?;
        let text = answer["ok"]["token"].as_str().with_context(|| format!("no token for {audience}"))?;
        let token = SasToken::parse(text)?;
        if !token.signature_matches(key.as_str().context("a text")?)
            || token.key_name() != name.as_str().context("a text")?
        {
            bail!("the token for {audience} has an invalid signature or another name of the key: {text}");
        }
        let wanted = SasToken::parse(&format!("SharedAccessSignature sr={encoded}&sig=AA==&se={end}&skn=x"))?;
        if token.audience() != wanted.audience() {
            bail!("the token for {audience} is for another audience: {text}");
        }
        if text.contains(&format!("sr={encoded}&")) && text.contains(&format!("se={end}")) {
            let decoded = percent_decode_str(text).decode_utf8()?;
            if !decoded.contains(case["sig"].as_str().context("a text")?) {
                bail!("the signature for {audience} is not {}: {text}", case["sig"]);
            }
        }
    }
    Ok(())
}
