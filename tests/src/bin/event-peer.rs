//! Many subscribers in one process: `event-peer SUBSCRIBERS PUBLISHERS EVENTS`. See `broadcast`.

use anyhow::{Context, Result};
use hybridrelay_tests::broadcast;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &'static str| -> Result<u64> {
        arguments.next().with_context(|| format!("{what}?"))?.parse().with_context(|| format!("{what} is a number"))
    };
    let (subscribers, publishers) = (number("how many subscribers")?, number("how many publishers")?);
    let events = number("how many events of each")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(broadcast::subscribe(usize::try_from(subscribers)?, usize::try_from(publishers)?, events))
}
