//! Lists that come page by page: how many pages they may have, and how fast these are asked for.

use std::{error::Error as StdError, fmt, time::Duration};

/// Pages of one list, at most: 100,000 EndpointSlices, or 500,000 Services, several times what
/// the largest clusters have.
const MOST: u32 = 5000;
/// Pages that are asked for one after the other without a pause.
const FREE: u32 = 100;
/// Before each page beyond that: a list that does not end takes little of a CPU.
const PAUSE: Duration = Duration::from_millis(20);

/// The list does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endless {
    /// A page refers to itself as the next.
    Circle,
    /// There are more pages than [`MOST`].
    Long,
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Circle => f.write_str("a list without an end: a page names itself as the next"),
            Self::Long => write!(f, "a list without an end: it goes on after {MOST} pages"),
        }
    }
}

impl StdError for Endless {}

/// One list on its way.
#[derive(Debug, Default)]
pub(super) struct Paging {
    pages: u32,
    /// What names the last page, or the next one after the first.
    last: Option<String>,
}

impl Paging {
    /// A page is to be asked for; `token` is what names it, `None` for the first. Returns how
    /// long to wait before.
    ///
    /// # Errors
    /// When the list does not end.
    pub(super) fn next(&mut self, token: Option<&str>) -> Result<Duration, Endless> {
        let Some(token) = token else {
            *self = Self::default();
            return Ok(Duration::ZERO);
        };
        if self.last.as_deref() == Some(token) {
            return Err(Endless::Circle);
        }
        self.last = Some(token.to_owned());
        self.pages += 1;
        if self.pages > MOST {
            return Err(Endless::Long);
        }
        Ok(if self.pages > FREE {
            PAUSE
        } else {
            Duration::ZERO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_an_end() {
        let mut paging = Paging::default();
        for _ in 0..2 {
            assert_eq!(paging.next(None), Ok(Duration::ZERO));
            for page in 1..=MOST {
                let wait = if page <= FREE { Duration::ZERO } else { PAUSE };
                assert_eq!(paging.next(Some(&page.to_string())), Ok(wait));
            }
            assert_eq!(paging.next(Some("more")), Err(Endless::Long));
        }
        assert_eq!(paging.next(None), Ok(Duration::ZERO));
        assert_eq!(paging.next(Some("more")), Ok(Duration::ZERO));
        assert_eq!(paging.next(Some("more")), Err(Endless::Circle));
    }
}
