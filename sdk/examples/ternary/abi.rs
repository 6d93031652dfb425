// SPDX-License-Identifier: Apache-2.0
// The part of onebit/abi.h that a compressor needs, in Rust: the same names, fields in the same order. Sizes are checked below
// when this is compiled; layout.rs prints every offset, which onebit's tests compare with the header's.
#![allow(non_camel_case_types, dead_code)]

use std::mem::size_of;
use std::os::raw::{c_char, c_void};

pub const ONEBIT_ABI_MINOR: u64 = 0;
pub const ONEBIT_OK: onebit_code = 0;
pub const ONEBIT_INVALID_ARGUMENT: onebit_code = 1;
pub const ONEBIT_INTERNAL: onebit_code = 10;
pub const ONEBIT_DEVICE_CPU: i64 = 1;
pub const ONEBIT_VALUE_INT: i64 = 2;
pub const ONEBIT_VALUE_FLOAT: i64 = 4;
pub const ONEBIT_SPAN_BLOCK: i32 = 1;
pub const ONEBIT_KIND_COMPRESSOR: i64 = 2;

pub type onebit_code = i32;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct onebit_str {
    pub data: *const u8,
    pub size: usize,
}
#[repr(C)]
pub struct onebit_error {
    pub struct_size: u64,
    pub native: i32,
    pub message: [u8; 484],
}
#[repr(C)]
pub struct onebit_option {
    pub struct_size: u64,
    pub key: onebit_str,
    pub r#type: i64,
    pub integer: i64,
    pub real: f64,
    pub string: onebit_str,
}
#[repr(C)]
pub struct onebit_schema {
    pub struct_size: u64,
    pub key: onebit_str,
    pub help: onebit_str,
    pub fallback: onebit_str,
    pub choices: onebit_str,
    pub minimum: f64,
    pub maximum: f64,
    pub types: i64,
    pub array_max: i64,
}
#[repr(C)]
pub struct onebit_config {
    pub struct_size: u64,
    pub count: usize,
    pub options: *const *const onebit_option,
}
#[repr(C)]
pub struct onebit_codec {
    pub struct_size: u64,
    pub block: i64,
    pub statistics: i64,
    pub span: i32,
    pub feedback: i32,
}
#[repr(C)]
pub struct onebit_piece {
    pub first: i64,
    pub count: i64,
    pub payload: i64,
    pub statistic: i64,
    pub key: u64,
}
#[repr(C)]
pub struct onebit_batch {
    pub struct_size: u64,
    pub piece_count: usize,
    pub pieces: *const onebit_piece,
    pub device_pieces: *const onebit_piece,
    pub step: u64,
    pub rank: u64,
    pub skip: *const i32,
    pub stream: *const c_void,
}
#[repr(C)]
pub struct onebit_compressor_api {
    pub struct_size: u64,
    pub create: unsafe extern "C" fn(*const c_void, *const onebit_config, *mut *mut c_void, *mut onebit_error) -> onebit_code,
    pub destroy: unsafe extern "C" fn(*mut c_void),
    pub describe: unsafe extern "C" fn(*mut c_void, *mut onebit_codec, *mut onebit_error) -> onebit_code,
    pub payload_size: unsafe extern "C" fn(*mut c_void, i64) -> usize,
    pub measure: unsafe extern "C" fn(
        *mut c_void,
        *const onebit_batch,
        *const f32,
        *const f32,
        *mut f64,
        *mut onebit_error,
    ) -> onebit_code,
    // NULL, as in this plugin, where spans are blocks: a pointer that may be NULL is an Option
    pub fold: Option<unsafe extern "C" fn(*mut c_void, *const c_void, *const f64, *mut f64, *mut onebit_error) -> onebit_code>,
    pub encode: unsafe extern "C" fn(
        *mut c_void,
        *const onebit_batch,
        *const f32,
        *const f32,
        *mut f32,
        *const f64,
        *mut c_void,
        *mut onebit_error,
    ) -> onebit_code,
    pub decode: unsafe extern "C" fn(
        *mut c_void,
        *const onebit_batch,
        *const c_void,
        f32,
        i32,
        *mut f32,
        *mut onebit_error,
    ) -> onebit_code,
}
#[repr(C)]
pub struct onebit_component {
    pub struct_size: u64,
    pub kind: i64,
    pub name: *const c_char,
    pub device: i64,
    pub capabilities: u64,
    pub options: *const *const onebit_schema,
    pub option_count: usize,
    pub api: *const onebit_compressor_api,
}
#[repr(C)]
pub struct onebit_plugin {
    pub struct_size: u64,
    pub abi_minor: u64,
    pub name: *const c_char,
    pub version: *const c_char,
    pub toolchain: *const c_char,
    pub components: *const *const onebit_component,
    pub component_count: usize,
    pub probe: Option<unsafe extern "C" fn(*mut onebit_error) -> onebit_code>,
    pub shutdown: Option<unsafe extern "C" fn()>,
}

const _: () = assert!(size_of::<onebit_error>() == 496);
const _: () = assert!(size_of::<onebit_option>() == 64);
const _: () = assert!(size_of::<onebit_schema>() == 104);
const _: () = assert!(size_of::<onebit_config>() == 24);
const _: () = assert!(size_of::<onebit_codec>() == 32);
const _: () = assert!(size_of::<onebit_piece>() == 40);
const _: () = assert!(size_of::<onebit_batch>() == 64);
const _: () = assert!(size_of::<onebit_compressor_api>() == 72);
const _: () = assert!(size_of::<onebit_component>() == 64);
const _: () = assert!(size_of::<onebit_plugin>() == 72);

/// Tables are constants that hold pointers, which Rust wants to be told are safe to share between threads.
#[repr(transparent)]
pub struct Constant<T>(pub T);
unsafe impl<T> Sync for Constant<T> {}
