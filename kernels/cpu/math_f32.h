// math_f32.h: math functions on floats, included once for each shape of REAL (math.c): a float, and
// one register.
//
// See math_f64.h. WIDE is as many doubles as REAL has floats: sin and cos reduce their argument in
// it, pow is computed in it. SCALE(x, n) is x * 2^n rounded once, n a whole number from -151 to
// 129; PART(table, i) is table[i % 16].

HELPER REAL FN(absolute)(REAL x)
{
    return AS_REAL(AS_INT(x) & INT32_MAX);
}

HELPER REAL FN(with_sign_of)(REAL magnitude, REAL sign)
{
    return AS_REAL(AS_INT(magnitude) | (AS_INT(sign) & INT32_MIN));
}

// e^x = 2^n (1 + t): returns t. -105 < x < 105. n is a whole number.
HELPER REAL FN(exp_reduced)(REAL x, REAL *n)
{
    REAL whole = x * 0x1.715476p+0f + 0x1.8p23f - 0x1.8p23f;
    REAL r = x - whole * 0x1.62c000p-1f; // exact: the constant has 11 bits
    r = r - whole * 0x1.217f7ep-12f;
    // (e^r - 1 - r) / r^2
    REAL p = SET(0.00138143206f);
    p = p * r + 0.00836885069f;
    p = p * r + 0.0416684002f;
    p = p * r + 0.166665196f;
    p = p * r + 0.49999994f;
    *n = whole;
    return r + r * r * p;
}

TEMPLATE REAL FN(aml_exp)(REAL x)
{
    x = SELECT(x > 89.0f, SET(89.0f), x);
    x = SELECT(x < -104.0f, SET(-104.0f), x);
    REAL n, t = FN(exp_reduced)(x, &n);
    return SCALE(1.0f + t, n);
}

TEMPLATE REAL FN(aml_log)(REAL x)
{
    INT tiny = AS_INT(x) < 0x00800000;
    REAL normal = SELECT(tiny, x * 0x1p24f, x);
    INT bits = AS_INT(normal), exponent = (bits - 0x3f3504f3) >> 23;
    REAL f = AS_REAL(bits - (exponent << 23)) - 1.0f; // 1 + f in [sqrt(1/2), sqrt(2))
    REAL n = CONVERT(exponent - ISELECT(tiny, 24));
    // (log(1 + f) - f + f^2 / 2) / f^3
    REAL p = SET(-0.0763439164f);
    p = p * f + 0.127654299f;
    p = p * f - 0.131620035f;
    p = p * f + 0.142013684f;
    p = p * f - 0.166231439f;
    p = p * f + 0.200012356f;
    p = p * f - 0.250008255f;
    p = p * f + 0.333333313f;
    REAL half = 0.5f * f * f;
    REAL result = n * 0x1.62c000p-1f + (f - (half - (f * f * f * p + n * 0x1.217f7ep-12f)));
    result = SELECT(x < SET(INFINITY), result, x); // infinity and NaN
    result = SELECT(x < 0.0f, SET(NAN), result);
    return SELECT(x == 0.0f, SET(-INFINITY), result);
}

// With q = e^-|x|, which is at most 1 and exact enough down to the denormal numbers: 1 / (1 + q),
// and q / (1 + q) for negative x.
TEMPLATE REAL FN(aml_sigmoid)(REAL x)
{
    REAL minus = AS_REAL(AS_INT(x) | INT32_MIN);
    minus = SELECT(minus < -104.0f, SET(-104.0f), minus);
    REAL n, t = FN(exp_reduced)(minus, &n);
    REAL q = SCALE(1.0f + t, n);
    return SELECT(x < 0.0f, q, SET(1.0f)) / (1.0f + q);
}

TEMPLATE REAL FN(aml_tanh)(REAL x)
{
    REAL held = SELECT(x > 9.25f, SET(9.25f), x);
    held = SELECT(held < -9.25f, SET(-9.25f), held);
    REAL a = FN(absolute)(held);
    INT bits = AS_INT(a + 0.625f), part = bits >> 21;
    REAL d = a - (AS_REAL(bits & ~0x1fffff) - 0.625f);
    REAL p = PART(tanh_parts[7], part);
    p = p * d + PART(tanh_parts[6], part);
    p = p * d + PART(tanh_parts[5], part);
    p = p * d + PART(tanh_parts[4], part);
    p = p * d + PART(tanh_parts[3], part);
    p = p * d + PART(tanh_parts[2], part);
    p = p * d + PART(tanh_parts[1], part);
    REAL rest = held * p;
    return held * PART(tanh_parts[0], part) + rest;
}

TEMPLATE REAL FN(aml_erf)(REAL x)
{
    REAL held = SELECT(x > 3.95f, SET(3.95f), x);
    held = SELECT(held < -3.95f, SET(-3.95f), held);
    REAL a = FN(absolute)(held);
    REAL shifted = a * (128.0f / 33) + 0x1.8p23f; // its last bits are the part
    INT part = AS_INT(shifted);
    REAL d = a - (shifted - 0x1.8p23f) * (33.0f / 128);
    REAL p = PART(erf_parts[6], part);
    p = p * d + PART(erf_parts[5], part);
    p = p * d + PART(erf_parts[4], part);
    p = p * d + PART(erf_parts[3], part);
    p = p * d + PART(erf_parts[2], part);
    p = p * d + PART(erf_parts[1], part);
    REAL rest = held * p;
    return held * PART(erf_parts[0], part) + rest;
}

// x = quarter * pi/2 + r, |r| <= pi/4, for every float: two_over_pi has 2/pi * 2^(exponent of x)
// without the multiples of 4, in two parts, of which the first has 29 bits: times the 24 bits of x
// it is exact.
HELPER INT FN(quarter)(REAL x, REAL *r)
{
    INT exponent = (AS_INT(x) >> 23) & 255, mantissa = AS_INT(x) & 0x7fffff;
    mantissa = mantissa | ISELECT(exponent != 0, 0x800000);
    WIDE m = WIDEN(FN(with_sign_of)(CONVERT(mantissa), x)), high, low;
    LOOK_UP(high, low, exponent);
    WIDE product = m * high, shifted = product + 0x1.8p52;
    *r = NARROW(((product - (shifted - 0x1.8p52)) + m * low) * 0x1.921fb54442d18p+0);
    return LOW_INT(shifted);
}

// The sine of quarter * pi/2 + r.
HELPER REAL FN(sin_quarter)(REAL r, INT quarter)
{
    REAL z = r * r;
    // (sin(r) / r - 1) / r^2
    REAL s = SET(2.7181627e-6f);
    s = s * z - 0.000198393187f;
    s = s * z + 0.00833332911f;
    s = s * z - 0.166666672f;
    // (cos(r) - 1 + r^2 / 2) / r^4
    REAL c = SET(-2.72088556e-7f);
    c = c * z + 2.47995031e-5f;
    c = c * z - 0.00138888834f;
    c = c * z + 0.0416666679f;
    REAL value = SELECT((quarter & 1) != 0, 1.0f - (0.5f * z - z * z * c), r + r * z * s);
    return AS_REAL(AS_INT(value) ^ ((quarter & 2) << 30));
}

TEMPLATE REAL FN(aml_sin)(REAL x)
{
    REAL r;
    INT quarter = FN(quarter)(x, &r);
    return FN(sin_quarter)(r, quarter);
}

TEMPLATE REAL FN(aml_cos)(REAL x)
{
    REAL r;
    INT quarter = FN(quarter)(x, &r);
    return FN(sin_quarter)(r, quarter + 1);
}

TEMPLATE REAL FN(aml_pow)(REAL x, REAL y)
{
    WIDE wide_x = WIDEN(x), wide_y = WIDEN(y);
    WIDE magnitude = WIDE_FN(aml_exp)(wide_y * WIDE_FN(aml_log)(WIDE_FN(absolute)(wide_x)));
    return NARROW(WIDE_FN(pow_special)(magnitude, wide_x, wide_y));
}
