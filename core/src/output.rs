//! Bytes that wait to be written.

use bytes::{Buf, BytesMut};

/// Takes off what was written. An output that is written whole begins at the start of its memory again: that need not grow for the next
/// bytes, and a leak checker that meets it finds a pointer into it, and not one behind its end.
pub(crate) fn take_written(output: &mut BytesMut, written: usize) {
    output.advance(written);
    if written > 0 && output.is_empty() {
        output.reserve(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_whole_leaves_its_room() {
        let mut output = BytesMut::new();
        output.extend_from_slice(&[7; 22]);
        output.resize(output.capacity(), 7);
        let (start, room) = (output.as_ptr(), output.capacity());
        take_written(&mut output, room - 2);
        assert_eq!(output, [7; 2][..]);
        take_written(&mut output, 2);
        assert_eq!((output.as_ptr(), output.capacity(), output.len()), (start, room, 0));
        take_written(&mut BytesMut::new(), 0);
    }
}
