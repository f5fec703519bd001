//! What a relay's metrics say.

use hybridrelay_relay::{LocalRelay, RelayHandle};

/// The samples of one reading.
#[derive(Clone, Debug)]
pub struct Samples(String);

impl Samples {
    /// Takes a reading in the OpenMetrics text format.
    pub fn new(text: String) -> Self {
        assert!(text.ends_with("# EOF\n"), "a reading has an end: {text}");
        Self(text)
    }

    /// The sum of all samples of a metric that have these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let samples = self.0.lines().filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (found, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
            let all = wanted.iter().all(|label| labels.contains(&label.as_str()));
            (found == name && all).then(|| value.parse::<f64>().expect("a number"))
        });
        samples.sum()
    }

    /// How much was refused for a reason.
    pub fn refusals(&self, reason: &str) -> f64 {
        self.sum("hybridrelay_refusals_total", &[("reason", reason)])
    }
}

impl From<&RelayHandle> for Samples {
    fn from(relay: &RelayHandle) -> Self {
        Self::new(relay.metrics_text())
    }
}

impl From<&LocalRelay> for Samples {
    fn from(relay: &LocalRelay) -> Self {
        Self::new(relay.metrics_text())
    }
}
