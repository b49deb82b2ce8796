//! Choosing the page's form by the Accept header (RFC 9110, section 12.5.1).

use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _, names};

use crate::metrics::Format;

/// The form that the client prefers; text when it names neither, or likes both
/// the same.
#[must_use]
pub(super) fn negotiate(accept: &str) -> Format {
    let open = quality(accept, &OPEN);
    if open > 0.0 && open > quality(accept, &TEXT) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

const VERSION: Name<'_> = Name::new_unchecked("version");

/// A media type that can be served.
struct Offer {
    ty: &'static str,
    subtype: &'static str,
    version: &'static str,
}

const OPEN: Offer = Offer {
    ty: "application",
    subtype: "openmetrics-text",
    version: "1.0.0",
};
const TEXT: Offer = Offer {
    ty: "text",
    subtype: "plain",
    version: "0.0.4",
};

/// The weight that the most specific matching range gives; 0 without any.
fn quality(accept: &str, offer: &Offer) -> f64 {
    let ranges = MediaTypeList::new(accept).flatten();
    let matching = ranges.filter_map(|range| Some((specificity(&range, offer)?, weight(&range))));
    matching
        .fold(
            (0, 0.0),
            |best, next| if next.0 > best.0 { next } else { best },
        )
        .1
}

/// 0 is never given: 1 for `*/*` up to 4 for type, subtype and version.
fn specificity(range: &MediaType<'_>, offer: &Offer) -> Option<u8> {
    let (ty, subtype) = (range.ty.as_str(), range.subty.as_str());
    match (ty, subtype) {
        ("*", "*") => Some(1),
        (ty, "*") if ty.eq_ignore_ascii_case(offer.ty) => Some(2),
        (ty, sub)
            if ty.eq_ignore_ascii_case(offer.ty) && sub.eq_ignore_ascii_case(offer.subtype) =>
        {
            match range.get_param(VERSION) {
                None => Some(3),
                Some(version) => (version.unquoted_str() == offer.version).then_some(4),
            }
        }
        _ => None,
    }
}

fn weight(range: &MediaType<'_>) -> f64 {
    let q = range.get_param(names::Q);
    match q.map(|q| q.as_str().parse::<f64>()) {
        None => 1.0,
        Some(Ok(q)) if (0.0..=1.0).contains(&q) => q,
        Some(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_servers_get_openmetrics() {
        for accept in [
            // Prometheus 2.45 and 3.0.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"",
            "application/*, text/plain;q=0.9",
            "*/*;q=0.5, text/plain;q=0.1",
        ] {
            assert_eq!(negotiate(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn everyone_else_gets_text() {
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.2,text/plain;q=0.3",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=loud",
            "application/json",
            "///,;;q=,\"",
        ] {
            assert_eq!(negotiate(accept), Format::Text, "{accept}");
        }
    }
}
