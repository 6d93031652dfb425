// SPDX-License-Identifier: Apache-2.0
// Prints where abi.rs has each field, "struct field offset", and each struct's size, "struct size", for a test to compare with
// the C header:  rustc --edition 2021 layout.rs && ./layout

mod abi;
use abi::*;

macro_rules! layout {
    ($of:ident: $($field:ident),*) => {{
        let memory = std::mem::MaybeUninit::<$of>::uninit();
        let base = memory.as_ptr();
        $(
            // no reference is made to what was never written
            let at = unsafe { std::ptr::addr_of!((*base).$field) } as usize - base as usize;
            println!("{} {} {}", stringify!($of), stringify!($field).trim_start_matches("r#"), at);
        )*
        println!("{} {}", stringify!($of), std::mem::size_of::<$of>());
    }};
}

fn main() {
    layout!(onebit_str: data, size);
    layout!(onebit_error: struct_size, native, message);
    layout!(onebit_option: struct_size, key, r#type, integer, real, string);
    layout!(onebit_schema: struct_size, key, help, fallback, choices, minimum, maximum, types, array_max);
    layout!(onebit_config: struct_size, count, options);
    layout!(onebit_codec: struct_size, block, statistics, span, feedback);
    layout!(onebit_piece: first, count, payload, statistic, key);
    layout!(onebit_batch: struct_size, piece_count, pieces, device_pieces, step, rank, skip, stream);
    layout!(onebit_compressor_api: struct_size, create, destroy, describe, payload_size, measure, fold, encode, decode);
    layout!(onebit_component: struct_size, kind, name, device, capabilities, options, option_count, api);
    layout!(onebit_plugin: struct_size, abi_minor, name, version, toolchain, components, component_count, probe, shutdown);
}
