//! Counters: plain numbers that one shard writes; `metrics` reads a copy.

/// Declares a struct of `u64` counters with a listing of names and values.
///
/// Each counter's documentation says what it counts; it becomes the metric's help text later.
#[allow(unused_macros, reason = "rooms declare their counters with it")]
macro_rules! counters {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: u64,)* }

        impl $name {
            /// Every counter by name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            /// Adds another's counts.
            #[allow(dead_code, reason = "not every room adds counters up")]
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use counters;

#[cfg(test)]
mod tests {
    counters! {
        /// For the test.
        pub struct Some {
            /// One.
            one,
            /// Two.
            two,
        }
    }

    #[test]
    fn lists_names_and_values() {
        let mut some = Some { one: 1, two: 2 };
        some.add(&Some { one: 0, two: 3 });
        assert_eq!(some.iter().collect::<Vec<_>>(), [("one", 1), ("two", 5)]);
    }
}
