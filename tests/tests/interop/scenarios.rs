//! What every pair of ends must be able to do, whatever stacks they belong to.

use hybridrelay_tests::payload::{self, Kind};

use crate::end::End;

/// Around the borders of the three length forms and of a 64 KiB fragment, and far beyond.
const SIZES: [usize; 9] = [0, 1, 125, 126, 65_535, 65_536, 65_537, 1 << 20, 16 << 20];

/// Messages of all sizes and both kinds arrive whole, in order and with their borders, first one way, then the other.
pub(crate) async fn exchange_messages(one: &mut End<'_>, other: &mut End<'_>) {
    pass_messages(one, other).await;
    pass_messages(other, one).await;
}

async fn pass_messages(from: &mut End<'_>, to: &mut End<'_>) {
    let sending = async {
        for kind in [Kind::Text, Kind::Binary] {
            for size in SIZES {
                from.send(kind, size).await;
            }
        }
    };
    let receiving = async {
        for kind in [Kind::Text, Kind::Binary] {
            for size in SIZES {
                assert_eq!(to.receive().await, payload::digested(&payload::message(kind, size)));
            }
        }
    };
    tokio::join!(sending, receiving);
}

/// The end that did not begin to close sees the other one's code and reason, and both are done in good order.
pub(crate) async fn close(by: &mut End<'_>, at: &mut End<'_>) {
    const REASON: &str = "fertig – das war's";
    let (seen, ()) = tokio::join!(at.closed_by_peer(), async {
        by.close(4001, REASON).await;
        by.until_closed().await;
    });
    assert_eq!(seen, (4001, REASON.to_owned()));
}
