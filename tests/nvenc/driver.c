/* NVIDIA's encoder, as FFmpeg's h264_nvenc sees it, on a machine that has none: libcuda.so.1 and libnvidia-encode.so.1 in one, with
 * libx264 in the place of the hardware. So FFmpeg's own code runs, with the options that framewire gives it, and does what it does
 * before a real card: a keyframe at each new bitrate, above all. How fast and how good a card is, this does not tell.
 *
 * The environment says what it shall do badly: DRIVER_FAILS_AFTER pictures; DRIVER_DELAYS each by one.
 */
#include <ffnvcodec/nvEncodeAPI.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <x264.h>

struct session {
  x264_t *x264;
  x264_param_t param;
  int keyframe;
  long pictures;
};

struct input {
  uint32_t pitch, height;
  uint8_t *data;
};

struct output {
  uint8_t *data;
  int length;
  NV_ENC_PIC_TYPE type;
  uint64_t time;
};

static long told(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value ? atol(value) : otherwise;
}

static NVENCSTATUS open_session(NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS *asked, void **session) {
  *session = calloc(1, sizeof(struct session));
  return *session ? NV_ENC_SUCCESS : NV_ENC_ERR_OUT_OF_MEMORY;
}

static NVENCSTATUS count_codecs(void *session, uint32_t *count) {
  *count = 1;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS list_codecs(void *session, GUID *list, uint32_t room, uint32_t *count) {
  *list = NV_ENC_CODEC_H264_GUID;
  *count = 1;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS can(void *session, GUID codec, NV_ENC_CAPS_PARAM *what, int *value) {
  switch (what->capsToQuery) {
  case NV_ENC_CAPS_WIDTH_MAX:
  case NV_ENC_CAPS_HEIGHT_MAX:
    *value = 4096;
    break;
  case NV_ENC_CAPS_SUPPORT_CABAC:
  case NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE:
    *value = 1;
    break;
  default:
    *value = 0;
  }
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS preset(void *session, GUID codec, GUID name, NV_ENC_TUNING_INFO tuning, NV_ENC_PRESET_CONFIG *config) {
  config->presetCfg.frameIntervalP = 1;
  return NV_ENC_SUCCESS;
}

static void set_rates(struct session *session, const NV_ENC_RC_PARAMS *rates) {
  session->param.rc.i_rc_method = X264_RC_ABR;
  session->param.rc.i_bitrate = rates->averageBitRate / 1000;
  session->param.rc.i_vbv_max_bitrate = rates->maxBitRate / 1000;
  session->param.rc.i_vbv_buffer_size = rates->vbvBufferSize / 1000;
}

static NVENCSTATUS initialize(void *opaque, NV_ENC_INITIALIZE_PARAMS *asked) {
  struct session *session = opaque;
  x264_param_t *param = &session->param;
  const NV_ENC_CONFIG_H264 *h264 = &asked->encodeConfig->encodeCodecConfig.h264Config;
  x264_param_default_preset(param, "superfast", "zerolatency");
  param->i_width = asked->encodeWidth;
  param->i_height = asked->encodeHeight;
  param->i_fps_num = asked->frameRateNum;
  param->i_fps_den = asked->frameRateDen;
  param->i_csp = X264_CSP_I420;
  param->i_keyint_max = asked->encodeConfig->gopLength;
  param->i_scenecut_threshold = 0;
  param->b_repeat_headers = h264->repeatSPSPPS;
  param->b_annexb = 1;
  param->i_log_level = X264_LOG_NONE;
  /* By this its keyframes are told from those of FFmpeg's own libx264. */
  param->i_level_idc = 62;
  param->i_sync_lookahead = 0;
  param->rc.i_lookahead = told("DRIVER_DELAYS", 0);
  param->rc.b_mb_tree = 0;
  param->vui.b_fullrange = h264->h264VUIParameters.videoFullRangeFlag;
  param->vui.i_colorprim = h264->h264VUIParameters.colourPrimaries;
  param->vui.i_transfer = h264->h264VUIParameters.transferCharacteristics;
  param->vui.i_colmatrix = h264->h264VUIParameters.colourMatrix;
  set_rates(session, &asked->encodeConfig->rcParams);
  session->x264 = x264_encoder_open(param);
  return session->x264 ? NV_ENC_SUCCESS : NV_ENC_ERR_INVALID_PARAM;
}

static NVENCSTATUS reconfigure(void *opaque, NV_ENC_RECONFIGURE_PARAMS *asked) {
  struct session *session = opaque;
  session->keyframe |= asked->forceIDR;
  if (!asked->reInitEncodeParams.encodeConfig)
    return NV_ENC_SUCCESS;
  set_rates(session, &asked->reInitEncodeParams.encodeConfig->rcParams);
  return x264_encoder_reconfig(session->x264, &session->param) ? NV_ENC_ERR_INVALID_PARAM : NV_ENC_SUCCESS;
}

static NVENCSTATUS create_input(void *session, NV_ENC_CREATE_INPUT_BUFFER *asked) {
  struct input *input = calloc(1, sizeof *input);
  input->pitch = (asked->width + 63) & ~63u;
  input->height = asked->height;
  input->data = calloc(2 * input->pitch, asked->height);
  asked->inputBuffer = input;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS lock_input(void *session, NV_ENC_LOCK_INPUT_BUFFER *asked) {
  struct input *input = asked->inputBuffer;
  asked->bufferDataPtr = input->data;
  asked->pitch = input->pitch;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_input(void *session, NV_ENC_INPUT_PTR opaque) {
  struct input *input = opaque;
  free(input->data);
  free(input);
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS create_output(void *session, NV_ENC_CREATE_BITSTREAM_BUFFER *asked) {
  asked->bitstreamBuffer = calloc(1, sizeof(struct output));
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_output(void *session, NV_ENC_OUTPUT_PTR opaque) {
  struct output *output = opaque;
  free(output->data);
  free(output);
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS unlock(void *session, void *buffer) { return NV_ENC_SUCCESS; }

static NVENCSTATUS encode(void *opaque, NV_ENC_PIC_PARAMS *asked) {
  struct session *session = opaque;
  struct input *input = asked->inputBuffer;
  struct output *output = asked->outputBitstream;
  if (asked->encodePicFlags & NV_ENC_PIC_FLAG_EOS)
    return NV_ENC_SUCCESS;
  if (session->pictures >= told("DRIVER_FAILS_AFTER", LONG_MAX))
    return NV_ENC_ERR_GENERIC;
  x264_picture_t in, out;
  x264_picture_init(&in);
  in.img.i_csp = X264_CSP_I420;
  in.img.i_plane = 3;
  in.img.i_stride[0] = input->pitch;
  in.img.i_stride[1] = in.img.i_stride[2] = input->pitch / 2;
  /* NV_ENC_BUFFER_FORMAT_YV12: red comes before blue. */
  in.img.plane[0] = input->data;
  in.img.plane[2] = input->data + (size_t)input->pitch * input->height;
  in.img.plane[1] = in.img.plane[2] + (size_t)input->pitch / 2 * (input->height / 2);
  in.i_pts = session->pictures++;
  in.i_type = session->keyframe || asked->encodePicFlags & NV_ENC_PIC_FLAG_FORCEIDR ? X264_TYPE_IDR : X264_TYPE_AUTO;
  session->keyframe = 0;
  x264_nal_t *nals;
  int count, length = x264_encoder_encode(session->x264, &nals, &count, &in, &out);
  if (length == 0)
    return NV_ENC_ERR_NEED_MORE_INPUT;
  if (length < 0)
    return NV_ENC_ERR_GENERIC;
  output->data = realloc(output->data, length);
  memcpy(output->data, nals[0].p_payload, length);
  output->length = length;
  output->type = out.b_keyframe ? NV_ENC_PIC_TYPE_IDR : NV_ENC_PIC_TYPE_P;
  output->time = asked->inputTimeStamp;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS lock_output(void *session, NV_ENC_LOCK_BITSTREAM *asked) {
  struct output *output = asked->outputBitstream;
  asked->bitstreamBufferPtr = output->data;
  asked->bitstreamSizeInBytes = output->length;
  asked->pictureType = output->type;
  asked->outputTimeStamp = output->time;
  asked->numSlices = 1;
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS destroy_session(void *opaque) {
  struct session *session = opaque;
  if (session->x264)
    x264_encoder_close(session->x264);
  free(session);
  return NV_ENC_SUCCESS;
}

static NVENCSTATUS set_streams(void *session, void *in, void *out) { return NV_ENC_SUCCESS; }

static const char *last_error(void *session) { return "the stand-in was told to fail"; }

NVENCSTATUS NVENCAPI NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) {
  *version = NVENCAPI_MAJOR_VERSION << 4 | NVENCAPI_MINOR_VERSION;
  return NV_ENC_SUCCESS;
}

NVENCSTATUS NVENCAPI NvEncodeAPICreateInstance(NV_ENCODE_API_FUNCTION_LIST *list) {
  list->nvEncOpenEncodeSessionEx = open_session;
  list->nvEncGetEncodeGUIDCount = count_codecs;
  list->nvEncGetEncodeGUIDs = list_codecs;
  list->nvEncGetEncodeCaps = can;
  list->nvEncGetEncodePresetConfigEx = preset;
  list->nvEncInitializeEncoder = initialize;
  list->nvEncReconfigureEncoder = reconfigure;
  list->nvEncSetIOCudaStreams = set_streams;
  list->nvEncCreateInputBuffer = create_input;
  list->nvEncLockInputBuffer = lock_input;
  list->nvEncUnlockInputBuffer = unlock;
  list->nvEncDestroyInputBuffer = destroy_input;
  list->nvEncCreateBitstreamBuffer = create_output;
  list->nvEncLockBitstream = lock_output;
  list->nvEncUnlockBitstream = unlock;
  list->nvEncDestroyBitstreamBuffer = destroy_output;
  list->nvEncEncodePicture = encode;
  list->nvEncDestroyEncoder = destroy_session;
  list->nvEncGetLastErrorString = (PNVENCGETLASTERROR)last_error;
  return NV_ENC_SUCCESS;
}

int cuDeviceGetCount(int *count) {
  *count = 1;
  return 0;
}

int cuDeviceGet(int *device, int number) {
  *device = number;
  return 0;
}

int cuDeviceGetName(char *name, int room, int device) {
  strncpy(name, "stand-in", room);
  return 0;
}

int cuDeviceComputeCapability(int *major, int *minor, int device) {
  *major = 8;
  *minor = 6;
  return 0;
}

int cuCtxCreate_v2(void **context, unsigned flags, int device) {
  static int any;
  *context = &any;
  return 0;
}
