package org.voloedge.app

import java.io.File
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor
import org.voloedge.core.Answer
import org.voloedge.core.Engine
import org.voloedge.core.EngineInfo
import org.voloedge.core.Preprocessing
import org.voloedge.core.timed

/** A .pte file in ExecuTorch; `threads` is the runtime's own choice where null. */
class ExecuTorchEngine(model: File, preprocessing: Preprocessing, threads: Int?) : Engine {
    override val info = EngineInfo("ExecuTorch", BuildConfig.EXECUTORCH, "xnnpack", threads)

    private val shape = with(preprocessing) {
        longArrayOf(1, channels.toLong(), crop.height.toLong(), crop.width.toLong())
    }
    private val module = Module.load(model.path, Module.LOAD_MODE_MMAP, threads ?: 0)

    init {
        module.loadMethod("forward") // or the first run would
    }

    override fun run(input: FloatArray): Answer {
        val value = EValue.from(Tensor.fromBlob(input, shape)) // copies
        val (outputs, elapsed) = timed { module.forward(value) }
        return Answer(outputs[0].toTensor().dataAsFloatArray, elapsed)
    }

    override fun close() = module.close()
}
