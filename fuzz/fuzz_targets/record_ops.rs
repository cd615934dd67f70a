#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hardline_fuzz::record_checks::record_ops(bytes));
