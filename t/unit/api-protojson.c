/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each text is decoded and encoded again; then the same through the binary form. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/protojson.h"
#include "api/wire.h"
#include "builder.pb-c.h"
#include "t/tools/echo.pb-c.h"

#define EVERYTHING &echo__v1__everything__descriptor

static char *json_of(const ProtobufCMessage *m)
{
	struct buf b = {0};

	protojson_encode(&b, m);
	buf_cstr(&b);
	return b.data;
}

static void check(const char *in, const char *want)
{
	struct err e = ERR_INIT;
	struct buf wire AUTO_BUF = {0};
	ProtobufCMessage *m = protojson_decode(EVERYTHING, in, strlen(in), &e);

	cr_assert(m, "%s: %s", in, e.msg);
	char *out = json_of(m);
	cr_assert_str_eq(out, want);
	wire_encode(&wire, m);
	ProtobufCMessage *again = wire_decode(EVERYTHING, wire.data, wire.len, &e);
	cr_assert(again, "%s: %s", in, e.msg);
	char *out2 = json_of(again);
	cr_assert_str_eq(out2, want);
	free(out);
	free(out2);
	protobuf_c_message_free_unpacked(m, NULL);
	protobuf_c_message_free_unpacked(again, NULL);
}

static const char *const same[] = {
        "{}",
        "{\"text\":\"a\\\"b\\\\c\\nd \xc3\xa9 \xf0\x9f\x98\x80\"}",
        "{\"small\":-2147483648}",
        "{\"smallUnsigned\":4294967295}",
        "{\"smallZigzag\":-1}",
        "{\"large\":\"-9223372036854775808\"}",
        "{\"largeUnsigned\":\"18446744073709551615\"}",
        "{\"largeFixed\":\"9223372036854775807\"}",
        "{\"real\":1.5,\"shortReal\":0.25}",
        "{\"real\":\"NaN\",\"shortReal\":\"-Infinity\"}",
        "{\"flag\":true}",
        "{\"blob\":\"AAEC/w==\"}",
        "{\"colour\":\"COLOUR_BLUE\"}",
        "{\"colour\":77}",
        "{\"child\":{}}",
        "{\"child\":{\"child\":{\"text\":\"deep\"}}}",
        "{\"whenItWas\":\"1970-01-01T00:00:00Z\"}",
        "{\"whenItWas\":\"0001-01-01T00:00:00Z\"}",
        "{\"whenItWas\":\"9999-12-31T23:59:59.999999999Z\"}",
        "{\"whenItWas\":\"1969-12-31T23:59:59.500Z\"}",
        "{\"whenItWas\":\"2000-02-29T00:00:00.000001Z\"}",
        "{\"numbers\":[\"1\",\"0\",\"-1\"],\"words\":[\"a\",\"\"]}",
        "{\"children\":[{},{\"flag\":true}]}",
        "{\"colours\":[\"COLOUR_RED\",\"COLOUR_LATE\",5]}",
        "{\"labels\":{\"\":\"empty\",\"k\":\"\"}}",
        "{\"byNumber\":{\"-1\":{},\"2\":{\"text\":\"x\"}}}",
        "{\"largeMap\":{\"9223372036854775807\":\"-1\"}}",
        "{\"byFlag\":{\"true\":\"t\",\"false\":\"f\"}}",
        "{\"choiceText\":\"\"}",
        "{\"choiceNumber\":0}",
        "{\"choiceChild\":{\"choiceNumber\":1}}",
        "{\"blobs\":[\"\",\"YQ==\"]}",
};

Test(api_protojson, round_trip)
{
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		check(same[i], same[i]);
}

static const char *const forms[][2] = {
        {"", "{}"},
        {" { } ", "{}"},
        {"{\"when_it_was\":\"2024-01-01t01:30:00+01:30\"}", "{\"whenItWas\":\"2024-01-01T00:00:00Z\"}"},
        {"{\"small_unsigned\":\"7\"}", "{\"smallUnsigned\":7}"},
        {"{\"small\":1.0}", "{\"small\":1}"},
        {"{\"small\":1e3}", "{\"small\":1000}"},
        {"{\"small\":\"1e3\"}", "{\"small\":1000}"},
        {"{\"small\":-0.0}", "{}"},
        {"{\"large\":5}", "{\"large\":\"5\"}"},
        {"{\"largeUnsigned\":18446744073709551615}", "{\"largeUnsigned\":\"18446744073709551615\"}"},
        {"{\"largeUnsigned\":9223372036854775808 , \"text\":\"1234567890123456789012\"}",
                "{\"text\":\"1234567890123456789012\",\"largeUnsigned\":\"9223372036854775808\"}"},
        {"{\"numbers\":[-9223372036854775808,9223372036854775807]}",
                "{\"numbers\":[\"-9223372036854775808\",\"9223372036854775807\"]}"},
        {"{\"unknown\":99999999999999999999999,\"more\":{\"x\":[1,null]},\"flag\":true}", "{\"flag\":true}"},
        {"{\"text\":null,\"child\":null,\"numbers\":null,\"labels\":null,\"choiceText\":null,\"choiceNumber\":1}",
                "{\"choiceNumber\":1}"},
        {"{\"text\":\"\",\"small\":0,\"flag\":false,\"colour\":0,\"numbers\":[],\"labels\":{}}", "{}"},
        {"{\"colour\":\"COLOUR_AZURE\"}", "{\"colour\":\"COLOUR_BLUE\"}"},
        {"{\"colour\":1}", "{\"colour\":\"COLOUR_RED\"}"},
        {"{\"blob\":\"_-8\"}", "{\"blob\":\"/+8=\"}"},
        {"{\"real\":\"1.5\",\"shortReal\":3}", "{\"real\":1.5,\"shortReal\":3}"},
        {"{\"real\":18446744073709551616}", "{\"real\":1.8446744073709552e+19}"},
        {"{\"text\":\"\\u00e9\\ud83d\\ude00\"}", "{\"text\":\"\xc3\xa9\xf0\x9f\x98\x80\"}"},
};

Test(api_protojson, accepted_forms)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		check(forms[i][0], forms[i][1]);
}

static const char *const wrong[] = {
        "[]",
        "null",
        "1",
        "{",
        "{}x",
        "{\"a\":}",
        "{'a':1}",
        "{\"text\":1}",
        "{\"text\":\"\\u0000\"}",
        "{\"text\":\"\xff\"}",
        "{\"text\":\"\\ud800\"}",
        "{\"text\":\"a\",\"text\":\"b\"}",
        "{\"smallUnsigned\":1,\"small_unsigned\":1}",
        "{\"whenItWas\":null,\"when_it_was\":null}",
        "{\"small\":2147483648}",
        "{\"small\":-2147483649}",
        "{\"smallUnsigned\":-1}",
        "{\"smallUnsigned\":4294967296}",
        "{\"large\":9223372036854775808}",
        "{\"large\":\"-9223372036854775809\"}",
        "{\"largeUnsigned\":18446744073709551616}",
        "{\"largeUnsigned\":-1}",
        "{\"small\":1.5}",
        "{\"small\":\"1.5\"}",
        "{\"small\":\"\"}",
        "{\"small\":\" 1\"}",
        "{\"small\":\"1 \"}",
        "{\"small\":\"0x10\"}",
        "{\"small\":\"+1\"}",
        "{\"small\":\"01\"}",
        "{\"small\":true}",
        "{\"small\":[1]}",
        "{\"flag\":1}",
        "{\"flag\":\"true\"}",
        "{\"real\":\"inf\"}",
        "{\"real\":\"nan\"}",
        "{\"real\":\"1e999\"}",
        "{\"shortReal\":1e39}",
        "{\"blob\":\"a\"}",
        "{\"blob\":\"a===\"}",
        "{\"blob\":\"??\"}",
        "{\"blob\":1}",
        "{\"colour\":\"MAUVE\"}",
        "{\"colour\":\"colour_red\"}",
        "{\"colour\":1.5}",
        "{\"child\":\"x\"}",
        "{\"child\":[]}",
        "{\"numbers\":1}",
        "{\"numbers\":[null]}",
        "{\"numbers\":{\"a\":1}}",
        "{\"labels\":[]}",
        "{\"labels\":{\"a\":null}}",
        "{\"labels\":{\"a\":1}}",
        "{\"byNumber\":{\"x\":{}}}",
        "{\"byFlag\":{\"1\":\"x\"}}",
        "{\"choiceText\":\"a\",\"choiceNumber\":1}",
        "{\"whenItWas\":\"2024-13-01T00:00:00Z\"}",
        "{\"whenItWas\":\"2023-02-29T00:00:00Z\"}",
        "{\"whenItWas\":\"2024-01-01T00:00:00\"}",
        "{\"whenItWas\":\"2024-01-01 00:00:00Z\"}",
        "{\"whenItWas\":\"2024-01-01T24:00:00Z\"}",
        "{\"whenItWas\":\"2024-01-01T00:00:60Z\"}",
        "{\"whenItWas\":\"2024-01-01T00:00:00.Z\"}",
        "{\"whenItWas\":\"2024-01-01T00:00:00.1234567890Z\"}",
        "{\"whenItWas\":\"0000-01-01T00:00:00Z\"}",
        "{\"whenItWas\":\"0001-01-01T00:00:00+01:00\"}",
        "{\"whenItWas\":5}",
        "{12345678901234567890:1}",
        "{\"small\":00000000000000000000001}",
};

Test(api_protojson, refused_forms)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct err e = ERR_INIT;
		ProtobufCMessage *m = protojson_decode(EVERYTHING, wrong[i], strlen(wrong[i]), &e);
		cr_assert_null(m, "taken: %s", wrong[i]);
		cr_assert(e.code == -EINVAL && *e.msg, "%s", wrong[i]);
	}
}

static struct buf nested(unsigned depth)
{
	struct buf b = {0};

	for (unsigned i = 1; i < depth; i++)
		buf_puts(&b, "{\"child\":");
	buf_puts(&b, "{}");
	for (unsigned i = 1; i < depth; i++)
		buf_puts(&b, "}");
	return b;
}

Test(api_protojson, depth)
{
	struct err e = ERR_INIT;
	struct buf in = nested(100), too_deep = nested(101);
	ProtobufCMessage *m = protojson_decode(EVERYTHING, in.data, in.len, &e);

	cr_assert(m, "%s", e.msg);
	protobuf_c_message_free_unpacked(m, NULL);
	cr_assert_null(protojson_decode(EVERYTHING, too_deep.data, too_deep.len, &e));
	buf_free(&in);
	buf_free(&too_deep);
}

Test(api_protojson, errors_name_the_place)
{
	struct err e = ERR_INIT;
	static const char in[] = "{\"config\":{\"limits\":{\"timeout_seconds\":\"soon\"}}}";

	cr_assert_null(protojson_decode(&builder__v1__create_build_request__descriptor, in, sizeof(in) - 1, &e));
	cr_assert(strstr(e.msg, "config: limits: timeout_seconds: \"soon\""), "%s", e.msg);
}

Test(api_protojson, init_strategy_aliases)
{
	static const char in[] = "{\"microvmRootfs\":{\"initStrategy\":\"INIT_STRATEGY_DIRECT_EXEC\"}}";
	struct err e = ERR_INIT;
	ProtobufCMessage *m = protojson_decode(&builder__v1__build_target__descriptor, in, sizeof(in) - 1, &e);

	cr_assert(m, "%s", e.msg);
	char *out = json_of(m);
	cr_assert_str_eq(out, "{\"microvmRootfs\":{\"initStrategy\":\"INIT_STRATEGY_DIRECT\"}}");
	free(out);
	protobuf_c_message_free_unpacked(m, NULL);
}
