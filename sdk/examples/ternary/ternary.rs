// SPDX-License-Identifier: Apache-2.0
// Compressor `ternary`: each element as -s, 0 or +s, two bits, after TernGrad (Wen et al., "TernGrad: ternary gradients to
// reduce communication in distributed deep learning", arXiv 1705.07878), in Rust, with no crate and no build tool:
//
//     rustc --edition 2021 --crate-type cdylib -O -C strip=symbols ternary.rs -o ternary.so
//
//   s     = the largest magnitude of the block, at most `clip` root mean squares (2.5 in TernGrad; it bounds the noise)
//   code  = sign(x) with probability |x| / s, else 0           the mean of what is decoded is x, where nothing was clipped
//
// It needs no error feedback. Payload of n elements: s (f32), then ceil(n / 16) words; element i is bits 2 (i mod 16) and
// following of word i / 16: 0 is zero, 1 is +s, 2 is -s. 3 is nothing that an encoder writes: decode answers it with an error.
//
// No panic crosses the boundary: `guard` turns it into a code and a message. Pointers become slices here, and nowhere else.

mod abi;
mod codec;
mod philox;

use abi::*;
use codec::Ternary;
use philox::CounterRandom;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::addr_of;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Whether a growable struct that somebody else allocated has a field: ONEBIT_HAS of the header.
macro_rules! has {
    ($pointer:expr, $field:ident) => {
        (*$pointer).struct_size as usize >= addr_of!((*$pointer).$field).add(1) as usize - $pointer as usize
    };
}

type Failure = (onebit_code, String);

unsafe fn fill(err: *mut onebit_error, text: &str) {
    if err.is_null() || !has!(err, message) {
        return;
    }
    let err = &mut *err;
    err.native = 0;
    let size = text.len().min(err.message.len() - 1);
    err.message[..size].copy_from_slice(&text.as_bytes()[..size]);
    err.message[size] = 0;
}

unsafe fn guard(err: *mut onebit_error, work: impl FnOnce() -> Result<(), Failure>) -> onebit_code {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => ONEBIT_OK,
        Ok(Err((code, text))) => {
            fill(err, &text);
            code
        }
        Err(_) => {
            fill(err, "a panic in the plugin 'ternary': this is a defect of it");
            ONEBIT_INTERNAL
        }
    }
}

unsafe fn option<'a>(config: *const onebit_config, key: &str) -> Result<&'a onebit_option, Failure> {
    from_raw_parts((*config).options, (*config).count)
        .iter()
        .map(|&option| &*option)
        .find(|option| from_raw_parts(option.key.data, option.key.size) == key.as_bytes())
        .ok_or_else(|| (ONEBIT_INVALID_ARGUMENT, format!("the host gave no option '{}'", key)))
}

unsafe extern "C" fn create(
    _: *const c_void,
    config: *const onebit_config,
    out: *mut *mut c_void,
    err: *mut onebit_error,
) -> onebit_code {
    guard(err, || {
        let block = option(config, "block")?.integer;
        if !(32..=65536).contains(&block) || block % 32 != 0 {
            let text = format!("block is {}; it must be a multiple of 32 from 32 to 65536", block);
            return Err((ONEBIT_INVALID_ARGUMENT, text));
        }
        let clip = option(config, "clip")?.real;
        *out = Box::into_raw(Box::new(Ternary { block, clip })) as *mut c_void;
        Ok(())
    })
}
unsafe extern "C" fn destroy(this: *mut c_void) {
    drop(Box::from_raw(this as *mut Ternary));
}

unsafe extern "C" fn describe(this: *mut c_void, out: *mut onebit_codec, err: *mut onebit_error) -> onebit_code {
    guard(err, || {
        if !has!(out, feedback) {
            return Err((
                ONEBIT_INVALID_ARGUMENT,
                "the host asks for a codec that is older than ABI 1.0".to_string(),
            ));
        }
        (*out).block = (*(this as *const Ternary)).block;
        (*out).statistics = 0;
        (*out).span = ONEBIT_SPAN_BLOCK;
        (*out).feedback = 0;
        Ok(())
    })
}
unsafe extern "C" fn payload_size(this: *mut c_void, count: i64) -> usize {
    (*(this as *const Ternary)).payload_size(count as usize)
}
unsafe extern "C" fn measure(
    _: *mut c_void,
    _: *const onebit_batch,
    _: *const f32,
    _: *const f32,
    _: *mut f64,
    _: *mut onebit_error,
) -> onebit_code {
    ONEBIT_OK // no statistics: a block's scale is found where it is encoded
}

unsafe fn pieces<'a>(batch: *const onebit_batch) -> &'a [onebit_piece] {
    from_raw_parts((*batch).pieces, (*batch).piece_count)
}

unsafe extern "C" fn encode(
    this: *mut c_void,
    batch: *const onebit_batch,
    values: *const f32,
    _: *const f32,
    _: *mut f32,
    _: *const f64,
    payload: *mut c_void,
    err: *mut onebit_error,
) -> onebit_code {
    let codec = &*(this as *const Ternary);
    guard(err, || {
        for piece in pieces(batch) {
            let count = piece.count as usize;
            let bytes = (payload as *mut u8).offset(piece.payload as isize);
            codec.encode(
                from_raw_parts(values.offset(piece.first as isize), count),
                &CounterRandom::new((*batch).step, (*batch).rank, piece.key),
                from_raw_parts_mut(bytes, codec.payload_size(count)),
            );
        }
        Ok(())
    })
}
unsafe extern "C" fn decode(
    this: *mut c_void,
    batch: *const onebit_batch,
    payload: *const c_void,
    weight: f32,
    add: i32,
    out: *mut f32,
    err: *mut onebit_error,
) -> onebit_code {
    let codec = &*(this as *const Ternary);
    guard(err, || {
        for piece in pieces(batch) {
            let count = piece.count as usize;
            let bytes = (payload as *const u8).offset(piece.payload as isize);
            let bytes = from_raw_parts(bytes, codec.payload_size(count));
            let to = from_raw_parts_mut(out.offset(piece.first as isize), count);
            codec.decode(bytes, weight, add != 0, to).map_err(|malformed| {
                let text = format!("a payload gives element {} the code 3, which is none", malformed.element);
                (ONEBIT_INVALID_ARGUMENT, text)
            })?;
        }
        Ok(())
    })
}

const fn text(of: &'static str) -> onebit_str {
    onebit_str {
        data: of.as_ptr(),
        size: of.len(),
    }
}
const fn number(key: &'static str, help: &'static str, fallback: &'static str, types: i64, range: [f64; 2]) -> onebit_schema {
    onebit_schema {
        struct_size: std::mem::size_of::<onebit_schema>() as u64,
        key: text(key),
        help: text(help),
        fallback: text(fallback),
        choices: text(""),
        minimum: range[0],
        maximum: range[1],
        types,
        array_max: 0,
    }
}

static BLOCK: Constant<onebit_schema> = Constant(number(
    "block",
    "elements a block, a multiple of 32; each costs 32 bits more",
    "1024",
    ONEBIT_VALUE_INT,
    [32.0, 65536.0],
));
static CLIP: Constant<onebit_schema> = Constant(number(
    "clip",
    "root mean squares at which magnitudes are cut, so that one outlier does not make all others noise; 0: none",
    "2.5",
    ONEBIT_VALUE_FLOAT,
    [0.0, 1000.0],
));
static OPTIONS: Constant<[*const onebit_schema; 2]> = Constant([&BLOCK.0, &CLIP.0]);
static API: onebit_compressor_api = onebit_compressor_api {
    struct_size: std::mem::size_of::<onebit_compressor_api>() as u64,
    create,
    destroy,
    describe,
    payload_size,
    measure,
    fold: None,
    encode,
    decode,
};
static COMPONENT: Constant<onebit_component> = Constant(onebit_component {
    struct_size: std::mem::size_of::<onebit_component>() as u64,
    kind: ONEBIT_KIND_COMPRESSOR,
    name: b"ternary\0".as_ptr() as *const c_char,
    device: ONEBIT_DEVICE_CPU,
    capabilities: 0,
    options: &OPTIONS.0 as *const *const onebit_schema,
    option_count: 2,
    api: &API,
});
static COMPONENTS: Constant<[*const onebit_component; 1]> = Constant([&COMPONENT.0]);
static PLUGIN: Constant<onebit_plugin> = Constant(onebit_plugin {
    struct_size: std::mem::size_of::<onebit_plugin>() as u64,
    abi_minor: ONEBIT_ABI_MINOR,
    name: b"ternary\0".as_ptr() as *const c_char,
    version: b"1.0.0\0".as_ptr() as *const c_char,
    toolchain: b"rustc\0".as_ptr() as *const c_char,
    components: &COMPONENTS.0 as *const *const onebit_component,
    component_count: 1,
    probe: None,
    shutdown: None,
});

#[no_mangle]
pub extern "C" fn onebit_plugin_entry_v1(_: *const c_void, _: *mut onebit_error) -> *const onebit_plugin {
    &PLUGIN.0
}
