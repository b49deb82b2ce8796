//! Writing metric families by way of prometheus-client's encoder.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
    },
    metrics::MetricType,
};

/// Labels of one series.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// A histogram's bucket: upper bound and its own (not cumulative) count.
pub(super) type Bucket = (f64, u64);

/// One metric family that is being written.
pub(super) struct Family<'a>(MetricEncoder<'a>);

/// Begins a family of counters; `_total` is added to the name.
pub(super) fn counter<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Counter)
        .map(Family)
}

/// Begins a family of gauges.
pub(super) fn gauge<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Gauge)
        .map(Family)
}

/// Begins a family of histograms.
pub(super) fn histogram<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<Family<'a>, fmt::Error> {
    to.encode_descriptor(name, help, None, MetricType::Histogram)
        .map(Family)
}

impl Family<'_> {
    /// Writes one series of a counter.
    pub(super) fn count<const N: usize>(
        &mut self,
        labels: &Labels<'_, N>,
        value: u64,
    ) -> fmt::Result {
        self.0
            .encode_family(labels)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// Writes a counter without labels.
    pub(super) fn count_only(&mut self, value: impl EncodeCounterValue) -> fmt::Result {
        self.0.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// Writes one series of a gauge.
    pub(super) fn set<const N: usize>(
        &mut self,
        labels: &Labels<'_, N>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0.encode_family(labels)?.encode_gauge(&value)
    }

    /// Writes a gauge without labels.
    pub(super) fn set_only(&mut self, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_gauge(&value)
    }

    /// Writes one series of a histogram.
    pub(super) fn observe<const N: usize>(
        &mut self,
        labels: &Labels<'_, N>,
        sum: f64,
        buckets: &[Bucket],
    ) -> fmt::Result {
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        self.0
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}
