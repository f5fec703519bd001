//! Names for hybrid connections that nobody named.

use hybridrelay::EntityPath;
use hybridrelay::env::Env;

const HOW: [&str; 32] = [
    "amber", "bold", "brisk", "calm", "clear", "clever", "crisp", "dapper", "eager", "early", "fair", "fond", "gentle",
    "glad", "golden", "happy", "jolly", "keen", "kind", "light", "lively", "lucky", "mellow", "merry", "mild", "neat",
    "proud", "quiet", "rapid", "sunny", "swift", "warm",
];

const WHO: [&str; 32] = [
    "badger", "beaver", "bison", "crane", "curlew", "dingo", "eagle", "egret", "falcon", "ferret", "finch", "gecko",
    "heron", "ibis", "jackal", "kestrel", "lemur", "lynx", "marten", "martin", "newt", "ocelot", "osprey", "otter",
    "plover", "puffin", "raven", "robin", "stoat", "swan", "tapir", "wren",
];

/// Without letters and digits that look alike.
const SYMBOLS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A name that can be read out and that nobody else has: 40 random bits.
pub(super) fn readable(env: &Env) -> EntityPath {
    let random: [u8; 8] = env.random();
    // 256 is a multiple of 32: every word and symbol is as likely as the others.
    let at = |byte: u8| usize::from(byte) % 32;
    let tail: String = random[2..].iter().map(|byte| char::from(SYMBOLS[at(*byte)])).collect();
    let name = format!("{}-{}-{tail}", HOW[at(random[0])], WHO[at(random[1])]);
    name.parse().expect("letters, digits and hyphens between them make a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_another_one_of_two_words_and_a_tail() {
        let env = Env::system();
        let names: std::collections::HashSet<String> = (0..1000).map(|_| readable(&env).to_string()).collect();
        assert_eq!(names.len(), 1000);
        for name in &names {
            let parts: Vec<_> = name.split('-').collect();
            assert!(HOW.contains(&parts[0]) && WHO.contains(&parts[1]) && parts[2].len() == 6, "{name}");
        }
    }

    #[test]
    fn no_word_stands_twice() {
        for words in [HOW, WHO] {
            assert_eq!(words.iter().collect::<std::collections::HashSet<_>>().len(), 32);
        }
    }
}
