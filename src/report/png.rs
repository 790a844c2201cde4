//! Small pictures as `data:` addresses, in the PNG format (<https://www.w3.org/TR/png/>).

use std::io::Write;

use crc::{CRC_32_ISO_HDLC, Crc};
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// What every file begins with.
const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// The address of a picture of `pixels`, `[height, width, channels]`, with 1 channel (grey) or 3 (red, green, blue).
pub fn address(height: u32, width: u32, channels: u32, pixels: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(&encode(height, width, channels, pixels)))
}

fn encode(height: u32, width: u32, channels: u32, pixels: &[u8]) -> Vec<u8> {
    let colour_type = if channels == 3 { 2 } else { 0 };
    let mut header = [height, width].map(u32::to_be_bytes);
    header.swap(0, 1);
    // 8 bits a channel; deflate, adaptive filters, no interlace: the only methods there are.
    let header = [header.as_flattened(), &[8, colour_type, 0, 0, 0]].concat();
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::best());
    for row in pixels.chunks_exact((width * channels).max(1) as usize) {
        // Writing to memory does not fail. 0: no filter.
        let _ = rows.write_all(&[0]).and_then(|()| rows.write_all(row));
    }
    let rows = rows.finish().unwrap_or_default();
    let mut file = SIGNATURE.to_vec();
    for (name, contents) in [(b"IHDR", header.as_slice()), (b"IDAT", &rows), (b"IEND", &[])] {
        let chunk = [name.as_slice(), contents].concat();
        file.extend((contents.len() as u32).to_be_bytes());
        file.extend(&chunk);
        file.extend(Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&chunk).to_be_bytes());
    }
    file
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize % 64];
            text.push(if place <= three.len() { letter.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_the_standards() {
        let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn a_picture_holds_its_rows() {
        let file = encode(2, 3, 1, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(file[..8], SIGNATURE);
        assert_eq!(file[8..29], *b"\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\0\0\0\0");
        // The checksum of an empty last chunk is in every file.
        assert!(file.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&file[41..41 + length]).read_to_end(&mut rows).unwrap();
        assert_eq!(rows, [0, 1, 2, 3, 0, 4, 5, 6]);
    }
}
