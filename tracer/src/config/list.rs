//! Lists in a file: one value needs no brackets, and commas part values as they do in a flag.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// A list, one value, several with commas between them, or nothing.
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String> + Deserialize<'de>,
{
    deserializer.deserialize_any(Values(PhantomData))
}

struct Values<T>(PhantomData<T>);

impl<'de, T: FromStr<Err = String> + Deserialize<'de>> Visitor<'de> for Values<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or a list such as [a, b]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        let values = text.split(',').map(|value| value.trim().parse());
        values.collect::<Result<_, _>>().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_none<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        // Each by itself, so that what is wrong has its own place.
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}
