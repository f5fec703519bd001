//! Masking of payload (RFC 6455 5.3), fast enough not to be seen beside the kernel's copy.

use std::ops::Range;

/// A mask key, turned to the position in the payload that was reached.
///
/// Masking and unmasking are the same operation, and pieces of a payload may be treated one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask([u8; 4]);

/// What [`Mask::apply_moving`] carries at once: read whole before it is written, so that the two may overlap, and large
/// enough to keep vector registers busy.
const BLOCK: usize = 64;
const WORD: usize = 8;

impl Mask {
    /// The mask at the beginning of a payload.
    pub fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Masks or unmasks the next `bytes` in place.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let word = self.word();
        // Whole words in a loop that the compiler turns into vector instructions: measured ten times a byte loop.
        let (words, tail) = bytes.as_chunks_mut::<WORD>();
        xor_words(words, word);
        xor_tail(tail, self.0);
        self.advance(bytes.len());
    }

    /// Masks or unmasks the next bytes, those at `src`, and moves them to `dst` in the same pass, front to back.
    ///
    /// `dst` must not be behind `src.start`; the two may overlap.
    ///
    /// # Panics
    ///
    /// If `src` reaches beyond `buf` or `dst` is behind `src.start`.
    pub fn apply_moving(&mut self, buf: &mut [u8], src: Range<usize>, dst: usize) {
        assert!(dst <= src.start, "bytes move to the front only");
        if dst == src.start {
            return self.apply(&mut buf[src]);
        }
        let word = self.word();
        // From here on both positions count from `dst`, so one slice holds them and a write never passes its read.
        let buf = &mut buf[dst..src.end];
        let shift = src.start - dst;
        let len = src.len();
        let mut at = 0;
        while at + BLOCK <= len {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&buf[at + shift..at + shift + BLOCK]);
            let (words, _) = block.as_chunks_mut::<WORD>();
            xor_words(words, word);
            buf[at..at + BLOCK].copy_from_slice(&block);
            at += BLOCK;
        }
        while at + WORD <= len {
            let mut bytes = [0; WORD];
            bytes.copy_from_slice(&buf[at + shift..at + shift + WORD]);
            let masked = u64::from_ne_bytes(bytes) ^ word;
            buf[at..at + WORD].copy_from_slice(&masked.to_ne_bytes());
            at += WORD;
        }
        for (key, at) in self.0.iter().cycle().zip(at..len) {
            buf[at] = buf[at + shift] ^ key;
        }
        self.advance(len);
    }

    /// Passes over `count` payload bytes that are treated elsewhere.
    pub fn advance(&mut self, count: usize) {
        self.0.rotate_left(count % 4);
    }

    /// The key twice. Its bytes stand in memory order, so native words serve on either kind of machine.
    fn word(&self) -> u64 {
        let [a, b, c, d] = self.0;
        u64::from_ne_bytes([a, b, c, d, a, b, c, d])
    }
}

fn xor_words(words: &mut [[u8; WORD]], key: u64) {
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

fn xor_tail(bytes: &mut [u8], key: [u8; 4]) {
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6455 5.3, word for word.
    fn reference(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect()
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_mask_like_the_whole(
            key: [u8; 4],
            payload in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(0usize..90, 0..12),
        ) {
            let expected = reference(key, &payload);
            let (mut mask, mut masked) = (Mask::new(key), payload);
            let mut rest = &mut masked[..];
            for cut in cuts {
                let (piece, behind) = rest.split_at_mut(cut.min(rest.len()));
                mask.apply(piece);
                rest = behind;
            }
            mask.apply(rest);
            prop_assert_eq!(masked, expected);
        }

        #[test]
        fn moving_masks_the_bytes_and_leaves_all_others_alone(
            key: [u8; 4],
            skipped in 0usize..5,
            buf in prop::collection::vec(any::<u8>(), 0..400),
            bounds: [prop::sample::Index; 3],
        ) {
            let mut bounds = bounds.map(|index| index.index(buf.len() + 1));
            bounds.sort_unstable();
            let [dst, start, end] = bounds;

            let mut mask = Mask::new(key);
            mask.advance(skipped);
            let mut moved = buf.clone();
            mask.apply_moving(&mut moved, start..end, dst);

            let mut turned = key;
            turned.rotate_left(skipped % 4);
            let mut expected = buf.clone();
            expected[dst..dst + (end - start)].copy_from_slice(&reference(turned, &buf[start..end]));
            // Between the two places lies what the move left behind; nobody may rely on it.
            let end_of_output = dst + (end - start);
            prop_assert_eq!(&moved[..end_of_output], &expected[..end_of_output]);
            prop_assert_eq!(&moved[end..], &expected[end..]);

            let mut after = Mask::new(key);
            after.advance(skipped + (end - start));
            prop_assert_eq!(mask, after);
        }
    }

    #[test]
    #[should_panic(expected = "front only")]
    fn moving_backwards_is_refused() {
        Mask::new([1; 4]).apply_moving(&mut [0; 8], 0..4, 2);
    }
}
